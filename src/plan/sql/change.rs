//! A change of the user's text, before the parser reads it.

use super::tokens::Lexed;

/// Something to be exchanged, or put between two tokens.
#[derive(Debug)]
pub(super) struct Change {
    /// Where it begins in the user's text, and where it ends.
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) text: String,
}

impl Change {
    pub(super) fn inserted(at: usize, text: &str) -> Self {
        Self {
            from: at,
            to: at,
            text: text.to_owned(),
        }
    }

    pub(super) fn replaced(lexed: &Lexed<'_>, text: String) -> Self {
        Self {
            from: lexed.at,
            to: lexed.end,
            text,
        }
    }
}
