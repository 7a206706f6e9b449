//! What is wrong with a value, and in which row.

/// What is wrong with a value's bytes.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes do not have the form of the type.
    Bad(String),
    /// A right value that the Arrow type chosen for the column cannot hold exactly, though another
    /// could: an error whatever the option for unrepresentable values.
    Inexact { what: String, hint: &'static str },
    /// A right value that the Arrow type cannot hold.
    Unrepresentable {
        what: String,
        /// What to do, where it is not the option for unrepresentable values.
        hint: Option<&'static str>,
    },
}

/// A [`Fault`] and the index of the field, among those given to `append`, that has it.
#[derive(Debug)]
pub(crate) struct ValueFault {
    pub(crate) row: usize,
    pub(crate) fault: Fault,
}

impl Fault {
    #[cold]
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::Bad(message.into())
    }

    #[cold]
    pub(crate) fn length(expected: usize, found: usize) -> Self {
        Self::Bad(format!("expected {expected} bytes, found {found}"))
    }

    #[cold]
    pub(crate) fn truncated() -> Self {
        Self::Bad("the value ends too early".to_owned())
    }

    #[cold]
    pub(crate) fn unrepresentable(what: impl Into<String>) -> Self {
        Self::Unrepresentable {
            what: what.into(),
            hint: None,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Bad(message) => message,
            Self::Inexact { what, .. } | Self::Unrepresentable { what, .. } => what,
        }
    }

    #[cold]
    pub(crate) fn at(self, row: usize) -> ValueFault {
        ValueFault { row, fault: self }
    }
}

/// Gives a fault of a child its parent's row: `ends[i]` is how many children the parents up to the
/// `i`-th, of those given to this call of `append`, had in all.
pub(crate) fn parent_row(fault: ValueFault, ends: &[usize]) -> ValueFault {
    ValueFault {
        row: ends.partition_point(|end| *end <= fault.row),
        fault: fault.fault,
    }
}
