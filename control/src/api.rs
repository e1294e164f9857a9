//! What has been counted, for others to ask: `POST /metrics/analysis`.
//!
//! [`record`] is fed by the engine each second and keeps sums, so an answer costs two look-ups and no
//! I/O. [`question`] reads what is asked, [`answer`] says what follows, [`auth`] who may ask, and
//! [`serve`] is the thin shell; [`openapi`] describes it all.

pub mod answer;
pub mod auth;
pub mod openapi;
pub mod question;
pub mod record;
pub mod serve;
