//! What the generator knows of the relations of the schema.

use std::sync::LazyLock;

/// What can be done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ty {
    Int,
    Num,
    Float,
    Text,
    Bp,
    Cit,
    Bool,
    Date,
    Ts,
    Tstz,
    Interval,
    Mood,
    Jsonb,
    Other,
}

/// An expression, and what may be done with it.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) sql: String,
    /// The same, where a table inside could have a column of that name.
    pub(super) qualified: String,
    pub(super) name: String,
    pub(super) ty: Ty,
    /// The collation, or the type's name: expressions with equal ones can be compared.
    pub(super) tag: String,
    /// Equal values may look different: 1.0 and 1.00, -0 and 0, Red and RED.
    pub(super) fuzzy: bool,
    /// Which of the equal values this is, is open.
    pub(super) open: bool,
    /// Rounded as the order of addition has it.
    pub(super) approx: bool,
    /// Values with which arithmetic overflows.
    pub(super) wild: bool,
    /// Columns of one domain can be joined.
    pub(super) domain: String,
    /// The shard key.
    pub(super) shards: bool,
    /// The only column of the primary key of the table with this alias.
    pub(super) primary: bool,
    /// The alias of the base table that this is a column of.
    pub(super) table: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Sharded,
    Replicated,
    /// A view that aggregates over shards.
    Global,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) alias: &'static str,
    pub(super) home: Home,
    pub(super) weight: u32,
    /// Unique together, and never NULL.
    pub(super) key: &'static str,
    /// `name:type`, then `~` fuzzy, `#` wild, `*` shard key, `@domain`.
    columns: &'static str,
}

/// Base tables first.
pub(super) const TABLES: [Table; 21] = [
    table(
        "sale",
        "s",
        Home::Sharded,
        30,
        "id",
        "id:i@sale* customer_id:i@customer day:d@day at:z status:b kind:m qty:i \
           price:n rate:n~ ratio:f~ factor:g paid:B note:t code:C city:I tag:N~",
    ),
    table(
        "item",
        "i",
        Home::Sharded,
        18,
        "sale_id line",
        "sale_id:i@sale* line:i product_id:i@product quantity:i amount:n \
           discount:n remark:t",
    ),
    table(
        "visit",
        "v",
        Home::Sharded,
        12,
        "n",
        "visitor:t@visitor* n:i page:t started:s seconds:f score:i ip:oinet \
           fee:omoney span:v~ sale_id:i@sale",
    ),
    table(
        "profile",
        "p",
        Home::Sharded,
        6,
        "visitor",
        "visitor:t@visitor* name:N~ age:i customer_id:i@customer",
    ),
    table(
        "reading",
        "r",
        Home::Sharded,
        9,
        "device seq",
        "device:t@device* seq:i@seq taken:z value:f temp:n drift:n~ state:m \
           doc:j~ tags:otext[]",
    ),
    table(
        "zoo",
        "z",
        Home::Sharded,
        7,
        "k",
        "k:i@k* g:i i2:i# i4:i# i8:i# f4:g~# f8:f~# num:n~# dec:n wide:n bo:B \
           bp:b ch:b~ vc:t tx:t tc:C ti:I tn:N~ ci:c~ en:m ia:oint4[] ta:otext[] d:d# tm:otime ts:s# tt:z# uu:ouuid by:obytea \
           jb:j~ iv:v~ ip:oinet r4:oint4range",
    ),
    table(
        "region",
        "g",
        Home::Replicated,
        2,
        "id",
        "id:i@region name:t parent:i@region code:b",
    ),
    table(
        "customer",
        "c",
        Home::Replicated,
        4,
        "id",
        "id:i@customer name:t nick:c~ region_id:i@region joined:d vip:B credit:n",
    ),
    table(
        "product",
        "pr",
        Home::Replicated,
        3,
        "id",
        "id:i@product name:t category:t price:n weight:f",
    ),
    table(
        "calendar",
        "cal",
        Home::Replicated,
        1,
        "day",
        "day:d@day month:i weekday:i holiday:t",
    ),
    table(
        "paid_sale",
        "ps",
        Home::Sharded,
        3,
        "id",
        "id:i@sale* customer_id:i@customer day:d@day qty:i price:n city:I",
    ),
    table(
        "sale_item",
        "si",
        Home::Sharded,
        3,
        "id line",
        "id:i@sale* line:i day:d@day status:b product_id:i@product quantity:i net:n",
    ),
    table(
        "sale_total",
        "st",
        Home::Sharded,
        3,
        "id",
        "id:i@sale* lines:i total:n",
    ),
    table(
        "customer_sale",
        "cs",
        Home::Sharded,
        2,
        "id",
        "id:i@sale* name:t region:t price:n",
    ),
    table(
        "paid_big",
        "pb",
        Home::Sharded,
        1,
        "id",
        "id:i@sale* price:n",
    ),
    table(
        "\"Odd View\"",
        "o",
        Home::Sharded,
        1,
        "\"Id\"",
        "\"Id\":i@sale* \"qty#qty\":i \"select\":n",
    ),
    table(
        "customer_region",
        "cr",
        Home::Replicated,
        2,
        "id",
        "id:i@customer name:t vip:B region:t parent:t",
    ),
    table(
        "status_total",
        "sta",
        Home::Global,
        1,
        "status",
        "status:b sales:i revenue:n mean_qty:n",
    ),
    table(
        "customer_history",
        "ch",
        Home::Global,
        1,
        "id",
        "id:i@customer name:t sales:i latest:d",
    ),
    table(
        "ranked_sale",
        "rs",
        Home::Global,
        1,
        "id",
        "id:i@sale kind:m place:i",
    ),
    table(
        "first_sale",
        "fs",
        Home::Global,
        1,
        "id",
        "id:i@sale day:d price:n",
    ),
];

/// The columns of each table under the alias `x`.
pub(super) fn columns_as_x() -> &'static [Vec<Expr>] {
    static COLUMNS: LazyLock<Vec<Vec<Expr>>> = LazyLock::new(|| {
        TABLES
            .iter()
            .map(|table| table.columns("x", false))
            .collect()
    });
    &COLUMNS
}

const fn table(
    name: &'static str,
    alias: &'static str,
    home: Home,
    weight: u32,
    key: &'static str,
    columns: &'static str,
) -> Table {
    Table {
        name,
        alias,
        home,
        weight,
        key,
        columns,
    }
}

impl Table {
    pub(super) fn is_view(&self) -> bool {
        let base = ["sale", "item", "visit", "profile", "reading", "zoo"];
        !base.contains(&self.name) && !super::super::layout::REPLICATED.contains(&self.name)
    }

    pub(super) fn columns(&self, alias: &str, bare: bool) -> Vec<Expr> {
        let keys: Vec<_> = self.key.split(' ').collect();
        let column = |text: &str| {
            let (name, rest) = text.split_once(':').expect("a type");
            // A blank in a name stands as `#`.
            let name = name.replace('#', " ");
            let (rest, domain) = match rest.split_once('@') {
                Some((rest, domain)) => (rest, domain.trim_end_matches('*').to_owned()),
                None => (rest, String::new()),
            };
            let marks = |mark| {
                text.split_once(':')
                    .is_some_and(|(_, rest)| rest.contains(mark))
            };
            let code = rest.trim_end_matches(['~', '#', '*']);
            let (ty, tag) = match code.split_at(1) {
                ("i", _) => (Ty::Int, ""),
                ("n", _) => (Ty::Num, ""),
                ("f", _) => (Ty::Float, "float8"),
                ("g", _) => (Ty::Float, "float4"),
                ("t", _) => (Ty::Text, ""),
                ("C", _) => (Ty::Text, "C"),
                ("I", _) => (Ty::Text, "icu"),
                ("N", _) => (Ty::Text, "nocase"),
                ("b", _) => (Ty::Bp, ""),
                ("c", _) => (Ty::Cit, ""),
                ("B", _) => (Ty::Bool, ""),
                ("d", _) => (Ty::Date, ""),
                ("s", _) => (Ty::Ts, ""),
                ("z", _) => (Ty::Tstz, ""),
                ("v", _) => (Ty::Interval, ""),
                ("m", _) => (Ty::Mood, ""),
                ("j", _) => (Ty::Jsonb, ""),
                ("o", tag) => (Ty::Other, tag),
                other => panic!("{other:?}"),
            };
            Expr {
                sql: match bare {
                    true => name.clone(),
                    false => format!("{alias}.{name}"),
                },
                qualified: format!("{alias}.{name}"),
                ty,
                tag: tag.to_owned(),
                fuzzy: marks('~'),
                open: false,
                approx: false,
                wild: marks('#'),
                domain,
                shards: marks('*'),
                primary: !self.is_view() && keys == [name.as_str()],
                table: alias.to_owned(),
                name,
            }
        };
        self.columns.split_whitespace().map(column).collect()
    }
}

impl Expr {
    /// An expression that is no column.
    pub(super) fn new(sql: String, ty: Ty, tag: &str) -> Self {
        Self {
            qualified: sql.clone(),
            sql,
            name: String::new(),
            ty,
            tag: tag.to_owned(),
            fuzzy: false,
            open: false,
            approx: false,
            wild: false,
            domain: String::new(),
            shards: false,
            primary: false,
            table: String::new(),
        }
    }

    /// The same as a column of a derived table.
    pub(super) fn renamed(&self, alias: &str, name: &str) -> Self {
        Self {
            sql: format!("{alias}.{name}"),
            qualified: format!("{alias}.{name}"),
            name: name.to_owned(),
            primary: false,
            table: String::new(),
            ..self.clone()
        }
    }

    /// Whether `=` and `<` give what can be relied on.
    pub(super) fn is_exact(&self) -> bool {
        !self.approx
    }

    /// Whether the representative of a group can be compared: those of intervals and of JSON cannot.
    pub(super) fn groups_visibly(&self) -> bool {
        let varies = self.fuzzy && matches!(self.ty, Ty::Interval | Ty::Jsonb | Ty::Other);
        !self.approx && !varies
    }

    pub(super) fn sorts(&self) -> bool {
        !self.approx && !(self.ty == Ty::Jsonb)
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.ty == other.ty && self.tag == other.tag
    }

    /// A value that the column has, or nearly.
    pub(super) fn samples(&self) -> &'static [&'static str] {
        match (self.ty, self.domain.as_str(), self.name.as_str()) {
            (_, "sale", _) => &["17", "42", "980", "-3", "500", "983"],
            (_, "customer", _) => &["1", "53", "77", "155", "120"],
            (_, "product", _) => &["3", "17", "40", "44"],
            (_, "region", _) => &["5", "1", "8"],
            (_, "visitor", _) => &["'v2'", "'v30'", "'v56'", "'v999'"],
            (_, "device", _) => &["'dev-7'", "'dev-3'", "'dev-15'"],
            (_, "k", _) => &["7", "100", "251"],
            (Ty::Int, _, "n") => &["100", "400", "799"],
            (Ty::Int, _, "age") => &["30", "18", "64"],
            (Ty::Int, _, "score") => &["50", "13", "90"],
            (Ty::Int, _, _) => &["2", "5", "0", "11", "-1", "1"],
            (Ty::Num, _, "discount") => &["0.05", "0.1", "0"],
            (Ty::Num, _, "rate" | "drift" | "num" | "dec") => &["1", "1.0", "2.50", "0"],
            (Ty::Num, _, "temp") => &["8.5", "12.25"],
            (Ty::Num, _, _) => &["100", "250.5", "480.00", "900", "0"],
            (Ty::Float, _, _) => &["0", "0.2", "1.5", "12.5", "30"],
            (Ty::Text, _, "page") => &["'/home'", "'/ab'", "'/'"],
            (Ty::Text, _, "note") => &["'note 31'", "'note 7'"],
            (Ty::Text, _, "city") => &["'oslo'", "'zagreb'", "'coop'", "'Aachen'"],
            (Ty::Text, _, "code") => &["'a'", "'B'", "''", "'b'"],
            (Ty::Text, _, "tag") => &["'red'", "'BLUE'"],
            (Ty::Text, _, "category") => &["'tool'", "'part'"],
            (Ty::Text, _, "remark") => &["'ok'", "'late'"],
            (Ty::Text, _, _) => &["'apple'", "'Ann'", "'Europe'", "'ab'", "'m'"],
            (Ty::Bp, _, _) => &["'new'", "'paid'", "''", "'a'"],
            (Ty::Cit, _, _) => &["'ann'", "'ONE'"],
            (Ty::Bool, _, _) => &["true", "false"],
            (Ty::Date, _, "joined") => &["date '2021-06-01'", "date '2023-01-01'"],
            (Ty::Date, _, _) => &[
                "date '2024-06-30'",
                "date '2024-02-29'",
                "date '2024-11-15'",
            ],
            (Ty::Ts, _, _) => &["timestamp '2024-03-01 12:00'", "timestamp '2024-02-29'"],
            (Ty::Tstz, _, _) => &[
                "timestamptz '2024-03-31 02:30+01'",
                "timestamptz '2024-02-15 00:00+00'",
            ],
            (Ty::Interval, _, _) => &["interval '1 day'", "interval '30 days'"],
            (Ty::Mood, _, _) => &["'ok'", "'happy'", "'sad'"],
            (Ty::Jsonb, _, _) => &["'1'::jsonb"],
            (Ty::Other, _, _) => &["null"],
        }
    }
}
