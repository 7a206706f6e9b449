//! A statement that reads ranges of a table's blocks.

/// A statement with places for the ends of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranged {
    /// The table, as SQL.
    pub(crate) table: String,
    /// The text before, between and behind the ends.
    pub(crate) pieces: [String; 3],
    /// Its rows are partial aggregates, which are merged again.
    pub(crate) is_grouped: bool,
    /// Functions that it calls, which may be aggregates that do not merge.
    pub(crate) functions: Vec<String>,
}

/// No block has this number: it stands for what is behind all.
pub(crate) const END: u64 = u32::MAX as u64;

impl Ranged {
    /// The statement for the blocks from one up to another, which is not in it.
    pub(crate) fn sql(&self, from: u64, to: u64) -> String {
        let [before, between, after] = &self.pieces;
        format!("{before}({from},0){between}({to},0){after}")
    }
}
