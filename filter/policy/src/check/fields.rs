//! Fields of a config: checked, and each kept once.

use crate::field::{Field, FieldId, unavailable};
use crate::headers::{self, HeaderId, HeaderTable};
use crate::path::Path;
use crate::problem::{Problems, Shown};
use crate::raw::{RawClaims, RawConfig, RawField, Role};

use super::names;

/// Collects the fields a document reads.
pub(super) struct Fields<'h> {
    role: Role,
    /// Headers that a gateway's early header mutation moves out of the way.
    moved: Vec<String>,
    headers: &'h mut HeaderTable,
    fields: Vec<Field>,
    claims: Vec<Vec<String>>,
}

// === impl Fields ===

impl<'h> Fields<'h> {
    pub(super) fn new(raw: &RawConfig, headers: &'h mut HeaderTable) -> Self {
        let moved = if raw.role == Role::Gateway { moved_by_gateways(raw) } else { Vec::new() };
        Self { role: raw.role, moved, headers, fields: Vec::new(), claims: Vec::new() }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn headers(&mut self) -> &mut HeaderTable {
        self.headers
    }

    pub(super) fn uses_peer(&self) -> bool {
        self.fields.contains(&Field::Peer)
    }

    pub(super) fn into_parts(self) -> (Vec<Field>, Vec<Vec<String>>) {
        (self.fields, self.claims)
    }

    /// The id of a marker with these sources, best first.
    pub(super) fn marker(&mut self, sources: Vec<FieldId>) -> FieldId {
        self.keep(Field::Marker(sources))
    }

    /// Checks a field and keeps it; `None` after a problem. Markers are resolved by the entry.
    pub(super) fn add(
        &mut self,
        raw: &RawField,
        claims: &RawClaims,
        path: &Path<'_>,
        problems: &mut Problems,
    ) -> Option<FieldId> {
        if let Some(reason) = unavailable(raw, self.role) {
            problems.add(path, &reason, &"decide on this field at an inbound or gateway entry");
            return None;
        }
        if !name_is_good(raw, path, problems) {
            return None;
        }
        let field = self.resolve(raw, claims)?;
        Some(self.keep(field))
    }

    fn keep(&mut self, field: Field) -> FieldId {
        let known = self.fields.iter().position(|kept| *kept == field);
        FieldId(known.unwrap_or_else(|| {
            self.fields.push(field);
            self.fields.len() - 1
        }))
    }

    fn resolve(&mut self, raw: &RawField, claims: &RawClaims) -> Option<Field> {
        if let RawField::Header(name) = raw {
            let (id, moved) = self.with_moved(name);
            return Some(Field::Header { id, moved });
        }
        if let RawField::Baggage(key) = raw {
            let (id, moved) = self.with_moved(headers::BAGGAGE);
            return Some(Field::Baggage { id, moved, key: key.as_bytes().into() });
        }
        let headers = &mut *self.headers;
        Some(match raw {
            RawField::GrpcMetadata(name) => {
                Field::GrpcMetadata { content_type: headers.intern("content-type"), key: headers.intern(name) }
            }
            RawField::Query(key) => Field::Query { path: headers.intern(":path"), key: key.as_bytes().into() },
            RawField::Cookie(name) => Field::Cookie { header: headers.intern("cookie"), name: name.as_bytes().into() },
            RawField::Path => Field::Path(headers.intern(":path")),
            RawField::Method => Field::Method(headers.intern(":method")),
            RawField::Host => Field::Host(headers.intern(":authority")),
            RawField::Peer => Field::Peer,
            RawField::Claim(name) => Field::Claim(self.claim(name, claims)),
            RawField::Header(_) | RawField::Baggage(_) | RawField::Marker(_) => return None,
        })
    }

    fn with_moved(&mut self, name: &str) -> (HeaderId, Option<HeaderId>) {
        let name = name.to_ascii_lowercase();
        let id = self.headers.intern(&name);
        let moved = self.moved.contains(&name).then(|| format!("{}{name}", headers::UNTRUSTED_PREFIX));
        (id, moved.map(|moved| self.headers.intern(&moved)))
    }

    fn claim(&mut self, name: &str, claims: &RawClaims) -> usize {
        let mut path = vec!["metadata".to_owned(), "filter_metadata".into(), claims.filter.clone(), claims.key.clone()];
        path.extend(name.split('.').map(str::to_owned));
        self.claims.iter().position(|known| *known == path).unwrap_or_else(|| {
            self.claims.push(path);
            self.claims.len() - 1
        })
    }
}

/// The carried headers, and baggage where it propagates: a rule on one of them still sees what the
/// client sent, which is how a rule may believe a client's mark.
fn moved_by_gateways(raw: &RawConfig) -> Vec<String> {
    let carried = raw.groups.iter().map(|group| group.carried_header.to_ascii_lowercase());
    let baggage = raw.groups.iter().any(|group| group.baggage).then(|| headers::BAGGAGE.to_owned());
    carried.chain(baggage).collect()
}

fn name_is_good(raw: &RawField, path: &Path<'_>, problems: &mut Problems) -> bool {
    match raw {
        RawField::Header(name) | RawField::GrpcMetadata(name) => {
            // Envoy calls it `:authority`; a rule on this one would never hold.
            let host = name.eq_ignore_ascii_case("host");
            let readable =
                problems.require(!host, path, &"there is no header `host` in Envoy", &"write the field host");
            readable && names::require_header(problems, path, name)
        }
        RawField::Cookie(name) => {
            let message = format_args!("`{}` is no cookie name", Shown(name));
            problems.require(names::is_token(name), path, &message, &"write letters, digits, dashes and underscores")
        }
        RawField::Query(key) | RawField::Baggage(key) | RawField::Claim(key) => problems.require(
            !key.is_empty() && key.len() <= 256,
            path,
            &"the name is empty or too long",
            &"write 1 to 256 bytes",
        ),
        _ => true,
    }
}
