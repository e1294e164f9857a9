//! The place of a value in a document, as `groups[0].entry.rules[2].lane`.

use std::fmt;

/// A path under construction: each step borrows the one before, so walking a document writes no text.
/// Only a problem renders its path.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The document.
    Root,
    /// A field of an object.
    Key(&'p Path<'p>, &'static str),
    /// An element of a list.
    At(&'p Path<'p>, usize),
}

// === impl Path ===

impl Path<'_> {
    pub(crate) fn key(&self, name: &'static str) -> Path<'_> {
        Path::Key(self, name)
    }

    pub(crate) fn at(&self, index: usize) -> Path<'_> {
        Path::At(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str("."),
            Path::Key(Path::Root, name) => f.write_str(name),
            Path::Key(parent, name) => write!(f, "{parent}.{name}"),
            Path::At(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
