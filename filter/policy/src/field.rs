//! Fields of a request: which side has them, how far they are trusted, and how their values are got.

use std::borrow::Cow;

use crate::authority::Authority;
use crate::headers::{Captured, HeaderId};
use crate::raw::{RawField, Role};
use crate::{baggage, cookie, query};

/// A field of a config, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FieldId(pub(crate) usize);

/// A field with its names resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A header; where a gateway moved a client's own out of the way, that one is read too.
    Header {
        id: HeaderId,
        moved: Option<HeaderId>,
    },
    GrpcMetadata {
        content_type: HeaderId,
        key: HeaderId,
    },
    Query {
        path: HeaderId,
        key: Box<[u8]>,
    },
    Cookie {
        header: HeaderId,
        name: Box<[u8]>,
    },
    Path(HeaderId),
    Method(HeaderId),
    Host(HeaderId),
    Claim(usize),
    Peer,
    Baggage {
        id: HeaderId,
        moved: Option<HeaderId>,
        key: Box<[u8]>,
    },
    /// Sources in falling trust.
    Marker(Vec<FieldId>),
}

/// How far a source is trusted. Order of the variants is the order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Verified, or set by the calling program: claims, peer identity, gRPC metadata.
    Context,
    /// Headers, and what travels in them.
    Header,
    /// The query: whoever writes a link writes it.
    Query,
}

impl Trust {
    /// From the most trusted to the least.
    pub const ALL: [Self; 3] = [Self::Context, Self::Header, Self::Query];
}

/// The facts a request's fields are read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'r> {
    pub(crate) headers: &'r Captured<'r>,
    pub(crate) peer: Option<&'r [u8]>,
    pub(crate) claims: &'r [Option<Vec<u8>>],
}

/// Values of one request's fields, each got when it is first asked for and then kept.
pub(crate) struct Values<'r> {
    fields: &'r [Field],
    facts: Facts<'r>,
    known: Vec<Option<Value<'r>>>,
    unit: Unit,
}

/// Whom stickiness follows in the group that is being decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nobody.
    #[default]
    None,
    /// The value of this field.
    Field(FieldId),
    /// The unit we are about to issue: 32 hex digits.
    Issued([u8; 32]),
}

/// A value that was looked for: there (`Some`) or not.
type Value<'r> = Option<Cow<'r, [u8]>>;

/// Why a field cannot be read on a side; `None` when it can.
///
/// | field | gateway | inbound | outbound |
/// |---|---|---|---|
/// | header, grpcMetadata, query, cookie, path, method, host, baggage | yes | yes | yes |
/// | claim | yes | yes | no: Envoy verifies tokens on the way in only |
/// | peer | yes | yes | no: the caller is the local app, without a certificate |
pub fn unavailable(field: &RawField, role: Role) -> Option<&'static str> {
    match (field, role) {
        (RawField::Claim(_), Role::Outbound) => Some("no verified claim exists on the outbound side"),
        (RawField::Peer, Role::Outbound) => Some("no peer identity exists on the outbound side"),
        _ => None,
    }
}

/// How far a source is trusted, when sources of a marker are ranked.
pub fn trust_of(field: &RawField) -> Trust {
    match field {
        RawField::Claim(_) | RawField::Peer | RawField::GrpcMetadata(_) => Trust::Context,
        RawField::Query(_) => Trust::Query,
        _ => Trust::Header,
    }
}

/// Whether a content type is gRPC: `application/grpc`, `application/grpc+proto`, `application/grpc-web`.
pub fn is_grpc(content_type: Option<&[u8]>) -> bool {
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

// === impl Values ===

impl<'r> Values<'r> {
    pub(crate) fn new(fields: &'r [Field], facts: Facts<'r>) -> Self {
        Self { fields, facts, known: vec![None; fields.len()], unit: Unit::None }
    }

    /// The value of a field; `None` when the request does not have it.
    pub(crate) fn get(&mut self, id: FieldId) -> Option<&[u8]> {
        self.learn(id);
        self.known.get(id.0)?.as_ref()?.as_deref()
    }

    /// The source that a marker takes its value from.
    pub(crate) fn source_of_marker(&mut self, sources: &[FieldId]) -> Option<FieldId> {
        sources.iter().copied().find(|source| self.get(*source).is_some())
    }

    /// Sets whom stickiness follows from here on.
    pub(crate) fn set_unit(&mut self, unit: Unit) {
        self.unit = unit;
    }

    /// The unit's bytes.
    pub(crate) fn unit(&mut self) -> Option<&[u8]> {
        match self.unit {
            Unit::None => None,
            Unit::Field(id) => self.get(id),
            Unit::Issued(_) => match &self.unit {
                Unit::Issued(digits) => Some(digits),
                _ => None,
            },
        }
    }

    fn learn(&mut self, id: FieldId) {
        if !matches!(self.known.get(id.0), Some(None)) {
            return;
        }
        let fields = self.fields;
        let value = match fields.get(id.0) {
            Some(Field::Marker(sources)) => self.marker(sources),
            Some(field) => read(field, self.facts),
            None => None,
        };
        if let Some(slot) = self.known.get_mut(id.0) {
            *slot = Some(value);
        }
    }

    fn marker(&mut self, sources: &[FieldId]) -> Value<'r> {
        let source = self.source_of_marker(sources)?;
        self.known.get(source.0)?.clone()?
    }
}

fn read<'r>(field: &'r Field, facts: Facts<'r>) -> Value<'r> {
    let header = |id: &HeaderId| facts.headers.get(*id);
    let either = |id: &HeaderId, moved: &Option<HeaderId>| header(id).or_else(|| moved.as_ref().and_then(header));
    match field {
        Field::Header { id, moved } => either(id, moved).map(Cow::Borrowed),
        Field::Method(id) => header(id).map(Cow::Borrowed),
        Field::GrpcMetadata { content_type, key } => {
            header(key).filter(|_| is_grpc(header(content_type))).map(Cow::Borrowed)
        }
        Field::Query { path, key } => query::first(query::of_path(header(path)?)?, key),
        Field::Cookie { header: id, name } => cookie::first(header(id)?, name).map(Cow::Borrowed),
        Field::Path(id) => header(id).map(query::path_only).map(Cow::Borrowed),
        Field::Host(id) => Authority::parse(header(id)?).map(|authority| Cow::Owned(authority.host().to_vec())),
        Field::Claim(index) => facts.claims.get(*index)?.as_deref().map(Cow::Borrowed),
        Field::Peer => facts.peer.map(Cow::Borrowed),
        Field::Baggage { id, moved, key } => baggage::first(either(id, moved)?, key).map(|member| member.value),
        Field::Marker(_) => None,
    }
}
