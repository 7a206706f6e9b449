//! Variance, covariance, correlation and regression: what they need of each shard, and the SQL that
//! combines it.
//!
//! Integers and numerics go by the exact sums of x and of x², as in `numeric_stddev_internal` of
//! PostgreSQL's `src/backend/utils/adt/numeric.c`. Floating-point numbers go by count, mean and the
//! sum of squared distances from the mean (Chan, Golub and LeVeque), as `float8_combine` and
//! `float8_regr_combine` of `src/backend/utils/adt/float.c`; sums of squares would lose the digits
//! that matter. All parts of a group are gathered in arrays and combined at once: first the mean of
//! all, then every part's distance from it.

/// A statistic of one variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variance {
    /// Over n - 1 instead of n.
    pub(super) sample: bool,
    pub(super) root: bool,
}

impl Variance {
    /// Over the numeric partials count, sum of x, sum of x².
    ///
    /// NaN, which an infinite x also gives, is greater than 0 and goes through. PostgreSQL gives the
    /// root the scale of the quotient, while `sqrt` takes one digit more or less; rounding that
    /// would round twice. So the root is taken with so many digits that what is cut off cannot be
    /// mistaken for a half: a root of a number of scale s is either half a unit of s itself, or
    /// 10^-(2s+2) / 2(root + 1) or more away from it.
    pub(super) fn of_numeric(self) -> String {
        let (least, divisor) = match self.sample {
            true => (1, "p.n * (p.n - 1)"),
            false => (0, "p.n * p.n"),
        };
        let variance = format!(
            "SELECT CASE WHEN p.n > {least} THEN \
             CASE WHEN p.d <= 0 THEN 0 ELSE p.d / ({divisor}) END END AS v \
             FROM (SELECT t.n, t.n * t.q - t.s * t.s AS d \
             FROM (SELECT sum($1) AS n, sum($2) AS s, sum($3) AS q) AS t) AS p"
        );
        match self.root {
            false => format!("({variance})"),
            true => format!(
                "(SELECT CASE WHEN r.v = 'NaN' THEN r.v ELSE round(sqrt(round(r.v, \
                 2 * scale(r.v) + 5 + length(trunc(r.v)::text))), scale(r.v)) END \
                 FROM ({variance}) AS r)"
            ),
        }
    }

    /// Over the partials count, sum of x, sum of squared distances.
    pub(super) fn of_float(self) -> String {
        let (least, divisor) = match self.sample {
            true => (1, "(sum(p.n) - 1)"),
            false => (0, "sum(p.n)"),
        };
        let root = if self.root { "sqrt" } else { "" };
        let d = distance("t.d");
        format!(
            "(SELECT CASE WHEN sum(p.n) > {least} THEN \
             {root}((sum(p.q) + sum(p.n * p.d * p.d)) / {divisor}) END \
             FROM (SELECT t.n, t.q, {d} AS d \
             FROM (SELECT u.n, u.q, u.s / u.n - sum(u.s) OVER () / sum(u.n) OVER () AS d \
             FROM unnest(array_agg($1), array_agg($2), array_agg($3)) AS u (n, s, q)) AS t) AS p)"
        )
    }
}

/// A statistic of two variables, Y and X in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Regression {
    /// The partials, as templates over the arguments, in the order of the result.
    parts: &'static [Part],
    /// Over the combined n, mx, my (means), xx, yy, xy (sums of products of distances).
    result: &'static str,
    /// How many pairs it takes.
    least: u8,
}

/// One column that a shard gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    N,
    Mx,
    My,
    Xx,
    Yy,
    Xy,
    /// The value of X if it is the same in all rows, else NULL; and of Y.
    ///
    /// Whether the sum of squares is 0 decides whether the result is NULL, and means that are off by
    /// their last bit would make it other than 0.
    Cx,
    Cy,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::N => "n",
            Self::Mx => "mx",
            Self::My => "my",
            Self::Xx => "xx",
            Self::Yy => "yy",
            Self::Xy => "xy",
            Self::Cx => "cx",
            Self::Cy => "cy",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::N => "regr_count($1, $2)",
            Self::Mx => "regr_avgx($1, $2)",
            Self::My => "regr_avgy($1, $2)",
            Self::Xx => "regr_sxx($1, $2)",
            Self::Yy => "regr_syy($1, $2)",
            Self::Xy => "regr_sxy($1, $2)",
            Self::Cx => {
                "CASE WHEN min(($2)::float8) FILTER (WHERE ($1) IS NOT NULL) \
                 = max(($2)::float8) FILTER (WHERE ($1) IS NOT NULL) \
                 THEN min(($2)::float8) FILTER (WHERE ($1) IS NOT NULL) END"
            }
            Self::Cy => {
                "CASE WHEN min(($1)::float8) FILTER (WHERE ($2) IS NOT NULL) \
                 = max(($1)::float8) FILTER (WHERE ($2) IS NOT NULL) \
                 THEN min(($1)::float8) FILTER (WHERE ($2) IS NOT NULL) END"
            }
        }
    }

    /// The part of all rows, from the parts p of some and their distances dx and dy.
    fn combined(self, parts: &[Self]) -> Option<String> {
        let (sum, constant) = match self {
            Self::N => return Some("sum(p.n)::float8 AS n".to_owned()),
            Self::Mx => return Some("sum(p.n * p.mx) / sum(p.n) AS mx".to_owned()),
            Self::My => return Some("sum(p.n * p.my) / sum(p.n) AS my".to_owned()),
            Self::Cx | Self::Cy => return None,
            Self::Xx => ("sum(p.xx) + sum(p.n * p.dx * p.dx)", "cx"),
            Self::Yy => ("sum(p.yy) + sum(p.n * p.dy * p.dy)", "cy"),
            Self::Xy => ("sum(p.xy) + sum(p.n * p.dx * p.dy)", ""),
        };
        let name = self.name();
        let checked = parts.iter().any(|part| part.name() == constant);
        Some(match checked {
            false => format!("{sum} AS {name}"),
            // Times 0, so that NaN stays NaN.
            true => format!(
                "CASE WHEN min(p.{constant}) = max(p.{constant}) \
                 AND count(p.{constant}) = count(p.{name}) \
                 THEN 0 * sum(p.{name}) ELSE {sum} END AS {name}"
            ),
        })
    }
}

impl Regression {
    pub(super) fn named(name: &str) -> Option<Self> {
        use Part::{Cx, Cy, Mx, My, N, Xx, Xy, Yy};
        let (parts, result, least): (&'static [Part], _, _) = match name {
            "regr_avgx" => (&[N, Mx], "t.mx", 1),
            "regr_avgy" => (&[N, My], "t.my", 1),
            "regr_sxx" => (&[N, Mx, Xx], "t.xx", 1),
            "regr_syy" => (&[N, My, Yy], "t.yy", 1),
            "regr_sxy" => (&[N, Mx, My, Xy], "t.xy", 1),
            "covar_pop" => (&[N, Mx, My, Xy], "t.xy / t.n", 1),
            "covar_samp" => (&[N, Mx, My, Xy], "t.xy / (t.n - 1)", 2),
            "corr" => (
                &[N, Mx, My, Xx, Yy, Xy, Cx, Cy],
                "CASE WHEN t.xx <> 0 AND t.yy <> 0 THEN t.xy / sqrt(t.xx * t.yy) END",
                1,
            ),
            "regr_r2" => (
                &[N, Mx, My, Xx, Yy, Xy, Cx, Cy],
                "CASE WHEN t.xx = 0 THEN NULL WHEN t.yy = 0 THEN 1 \
                 ELSE (t.xy * t.xy) / (t.xx * t.yy) END",
                1,
            ),
            "regr_slope" => (
                &[N, Mx, My, Xx, Xy, Cx],
                "CASE WHEN t.xx <> 0 THEN t.xy / t.xx END",
                1,
            ),
            "regr_intercept" => (
                &[N, Mx, My, Xx, Xy, Cx],
                "CASE WHEN t.xx <> 0 THEN t.my - t.mx * t.xy / t.xx END",
                1,
            ),
            _ => return None,
        };
        Some(Self {
            parts,
            result,
            least,
        })
    }

    /// Templates over the two arguments.
    pub(super) fn partials(self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().map(|part| part.template())
    }

    /// Over the partials.
    pub(super) fn combine(self) -> String {
        let (result, least) = (self.result, self.least);
        let list = |items: Vec<String>| items.join(", ");
        let combined = list(
            self.parts
                .iter()
                .filter_map(|part| part.combined(self.parts))
                .collect(),
        );
        let arrays = list(
            (1..=self.parts.len())
                .map(|number| format!("array_agg(${number})"))
                .collect(),
        );
        let names = list(
            self.parts
                .iter()
                .map(|part| part.name().to_owned())
                .collect(),
        );
        let mut near = String::new();
        let mut raw = String::new();
        for (part, name) in [(Part::Mx, "x"), (Part::My, "y")] {
            if self.parts.contains(&part) {
                let d = distance(&format!("d.d{name}"));
                near += &format!(", {d} AS d{name}");
                raw += &format!(
                    ", u.m{name} - sum(u.n * u.m{name}) OVER () / sum(u.n) OVER () AS d{name}"
                );
            }
        }
        let kept = |alias: &str| {
            list(
                self.parts
                    .iter()
                    .map(|part| format!("{alias}.{}", part.name()))
                    .collect(),
            )
        };
        let (from_d, from_u) = (kept("d"), kept("u"));
        format!(
            "(SELECT CASE WHEN t.n >= {least} THEN {result} END \
             FROM (SELECT {combined} FROM (SELECT {from_d}{near} FROM (SELECT {from_u}{raw} \
             FROM unnest({arrays}) AS u ({names})) AS d) AS p) AS t)"
        )
    }
}

/// A distance whose square is more than nothing: its operators would report an underflow otherwise,
/// where the aggregates of PostgreSQL go on with 0.
fn distance(d: &str) -> String {
    format!("CASE WHEN abs({d}) < 1e-161 THEN 0 ELSE {d} END")
}
