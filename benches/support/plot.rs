//! Lines over powers of two, one panel below the other, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
/// Of the lines of one panel, and of what is around them.
const HEIGHT: f64 = 120.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 24.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 20.0;

/// One line with its title.
pub(crate) struct Panel {
    title: &'static str,
    points: Vec<(usize, f64)>,
}

impl Panel {
    pub(crate) fn new(title: &'static str, points: Vec<(usize, f64)>) -> Self {
        Self { title, points }
    }

    /// The end of its scale: the next of 1, 2, 3 or 5 times a power of ten.
    fn top(&self) -> f64 {
        let most = self
            .points
            .iter()
            .map(|&(_, y)| y)
            .fold(f64::MIN_POSITIVE, f64::max);
        let power = 10_f64.powf(most.log10().floor());
        let steps = [1.0, 2.0, 3.0, 5.0, 10.0].map(|step| step * power);
        steps.into_iter().find(|step| *step >= most).unwrap_or(most)
    }
}

/// Panels over the same numbers, which `axis` names.
pub(crate) fn draw(axis: &str, panels: &[Panel]) -> String {
    let whole = panels.len() as f64 * (ABOVE + HEIGHT + BELOW) + BELOW;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
"##
    );
    for (index, panel) in panels.iter().enumerate() {
        draw_panel(
            &mut svg,
            panel,
            index as f64 * (ABOVE + HEIGHT + BELOW) + ABOVE,
        );
    }
    text(&mut svg, WIDTH / 2.0, whole - 8.0, "middle", axis);
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, upper: f64) {
    let lower = upper + HEIGHT;
    let last = panel.points.last().map_or(1, |&(x, _)| x.max(2));
    let x = |shards: usize| {
        LEFT + (WIDTH - LEFT - RIGHT) * (shards as f64).log2() / (last as f64).log2()
    };
    let top = panel.top();
    let y = |value: f64| lower - HEIGHT * value / top;
    text(svg, LEFT, upper - 12.0, "start", panel.title);
    for value in [0.0, top / 2.0, top] {
        let at = y(value);
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {at:.1}H{}" stroke="#ccc"/>"##,
            WIDTH - RIGHT
        );
        text(svg, LEFT - 6.0, at + 4.0, "end", &value.to_string());
    }
    let mut line = String::new();
    for &(shards, value) in &panel.points {
        let (x, y) = (x(shards), y(value));
        let _ = write!(line, "{x:.1},{y:.1} ");
        let _ = writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="#1f5fa8"/>"##
        );
        text(svg, x, lower + 16.0, "middle", &shards.to_string());
    }
    let line = line.trim_end();
    let _ = writeln!(
        svg,
        r##"<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>"##
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}
