//! The shape of each type of a document: its members or variants, by name.
//!
//! Kept beside serde's attributes in [`crate::raw`], which say the same; the tests compare the two.

use crate::raw::*;

use super::json::{Json, Name};
use super::{Shape, Stop};

/// An object. `needed` members must be there; a `may` member that is not has its blank value, or the
/// one after `=`.
macro_rules! object {
    ($type:ident { $($mark:ident $field:ident $name:literal $(= $default:expr)?,)* }) => {
        impl Shape for $type {
            fn blank() -> Self {
                Self { $($field: blank!($($default)?),)* }
            }

            fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
                #[allow(non_camel_case_types)]
                enum Field { $($field,)* }
                const NAMES: &[Name] = &[$(Name { text: $name, needed: is_needed!($mark) },)*];
                json.object(NAMES, &mut |json, at| {
                    $(if at == Field::$field as usize {
                        return self.$field.read(json);
                    })*
                    Ok(())
                })
            }
        }
    };
}

/// A choice between variants, with or without a value. The first is the blank one.
macro_rules! choice {
    ($type:ident = $blank:expr; { $($variant:ident $name:literal $(($value:ty))?,)* }) => {
        impl Shape for $type {
            fn blank() -> Self {
                $blank
            }

            fn read(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
                enum Variant { $($variant,)* }
                const NAMES: &[Name] = &[$(Name { text: $name, needed: has_value!($($value)?) },)*];
                json.choice(NAMES, &mut |json, at| {
                    $(if at == Variant::$variant as usize {
                        variant!(self, json, $variant $(($value))?);
                    })*
                    Ok(())
                })
            }
        }
    };
}

macro_rules! blank {
    () => {
        Shape::blank()
    };
    ($default:expr) => {
        $default
    };
}

macro_rules! is_needed {
    (needed) => {
        true
    };
    (may) => {
        false
    };
}

macro_rules! has_value {
    () => {
        false
    };
    ($value:ty) => {
        true
    };
}

macro_rules! variant {
    ($target:ident, $json:ident, $variant:ident) => {{
        let _ = &$json;
        *$target = Self::$variant;
    }};
    ($target:ident, $json:ident, $variant:ident ($value:ty)) => {{
        let mut value = <$value as Shape>::blank();
        value.read($json)?;
        *$target = Self::$variant(value);
    }};
}

object!(RawConfig {
    needed version "version",
    needed generation "generation",
    needed role "role",
    may entry_only "entryOnly",
    may groups "groups",
});

choice!(Role = Role::Gateway; {
    Gateway "gateway",
    Inbound "inbound",
    Outbound "outbound",
});

object!(RawGroup {
    needed name "name",
    needed rollout "rollout",
    may carried_header "carriedHeader" = default_carried_header(),
    may baggage "baggage",
    may client_marks "clientMarks",
    may entry "entry",
    may brake "brake",
    may drain_after_ms "drainAfterMs",
    needed lanes "lanes",
});

object!(RawBrake {
    needed evidence "evidence",
    needed attempt "attempt",
    may released "released",
});

choice!(ClientMarks = ClientMarks::Drop; {
    Drop "drop",
    Peers "peers",
    Accept "accept",
});

object!(RawEntry {
    may markers "markers",
    may rules "rules",
    may slots "slots",
    may stickiness "stickiness",
    may claims "claims",
});

object!(RawMarker {
    needed name "name",
    needed from "from",
});

object!(RawRule {
    needed name "name",
    needed lane "lane",
    needed when "when",
    may from_unix "fromUnix",
    may until_unix "untilUnix",
});

choice!(RawCondition = RawCondition::Percent(0); {
    All "all" (Vec<RawCondition>),
    Any "any" (Vec<RawCondition>),
    Not "not" (Box<RawCondition>),
    Match "match" (RawMatch),
    Percent "percent" (u32),
});

object!(RawMatch {
    needed field "field",
    needed is "is",
});

choice!(RawField = RawField::Path; {
    Header "header" (String),
    GrpcMetadata "grpcMetadata" (String),
    Query "query" (String),
    Cookie "cookie" (String),
    Path "path",
    Method "method",
    Host "host",
    Claim "claim" (String),
    Peer "peer",
    Baggage "baggage" (String),
    Marker "marker" (String),
});

choice!(RawOperator = RawOperator::Present; {
    Exact "exact" (String),
    Prefix "prefix" (String),
    Suffix "suffix" (String),
    Contains "contains" (String),
    In "in" (Vec<String>),
    Present "present",
    Absent "absent",
    Regex "regex" (String),
    Range "range" (RawRange),
    Semver "semver" (String),
});

object!(RawRange {
    may min "min",
    may max "max",
});

object!(RawSlots {
    needed salt "salt",
    needed runs "runs",
    may expires_unix "expiresUnix",
});

object!(RawRun {
    needed until "until",
    needed lane "lane",
});

object!(RawStickiness {
    may unit "unit",
    may no_unit "noUnit",
    may cookie "cookie",
});

choice!(NoUnit = NoUnit::Stable; {
    Stable "stable",
    Cookie "cookie",
    Random "random",
});

object!(RawCookie {
    may name "name" = default_cookie_name(),
    may max_age_seconds "maxAgeSeconds" = DEFAULT_MAX_AGE_SECONDS,
    may path "path" = "/".into(),
    may secure "secure",
    may same_site "sameSite",
});

choice!(SameSite = SameSite::Lax; {
    Lax "lax",
    Strict "strict",
    None "none",
});

object!(RawClaims {
    may filter "filter" = default_claims_filter(),
    may key "key" = default_claims_key(),
});

object!(RawLanes {
    needed names "names",
    may destinations "destinations",
    may trace "trace",
});

object!(RawDestination {
    needed service "service",
    needed hosts "hosts",
    may ready "ready",
    may route_by "routeBy",
    may slow_over_ms "slowOverMs",
});

choice!(RouteBy = RouteBy::Route; {
    Route "route",
    Carried "carried",
});

object!(RawTrace {
    needed workloads "workloads",
    may ttl_ms "ttlMs" = default_trace_ttl_ms(),
});
