//! What people see of releases, made from what is kept of them. Pure: time is passed in, nothing is
//! asked of anybody.
//!
//! [`kept`] reads an object, [`glance`] says how it stands in a few words, [`tree`] lays it out across
//! services, [`text`] prints both; [`outcome`] says when a release has come to an end that a waiting
//! program wants to hear of.

pub mod columns;
pub mod glance;
pub mod ground;
pub mod kept;
pub mod list;
pub mod mark;
pub mod outcome;
pub mod steps;
pub mod text;
pub mod times;
pub mod tree;
pub mod verdict;
