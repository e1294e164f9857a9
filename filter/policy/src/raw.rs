//! The filter config as it is written in JSON: one document for one role.
//!
//! These types only give the document its shape. [`crate::Policy`] is what a document becomes once
//! every value has been checked; no code after that checks a range again. Unknown fields are refused
//! everywhere, so a typo never silently turns a rule off. Both the filter (which reads) and
//! `graylane` (which writes) use these types, so the two cannot drift apart. A member or a variant
//! that is added here is added to `shape/document.rs` too, by which documents are read.

mod brake;

pub use brake::RawBrake;
use serde::{Deserialize, Serialize};

use crate::number::Number;

/// The only document version this build reads and writes.
pub const VERSION: u32 = 1;

/// One filter config document, delivered as the JSON text of a `google.protobuf.StringValue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawConfig {
    /// Version of this format; always 1.
    pub version: u32,
    /// Number that grows with each pushed document. A proxy "has" it when every worker reports it.
    pub generation: u64,
    /// The side of the proxy this document is for.
    pub role: Role,
    /// True for the document of a sidecar's additional filter (`graylane.entry` or
    /// `graylane.entry.outbound`), which only chooses a lane and
    /// leaves counting and routing to the `graylane.inbound` or `graylane.outbound` filter after it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub entry_only: bool,
    /// Lane groups that meet on this proxy. Empty is an inert document: everything goes to stable.
    #[serde(default)]
    pub groups: Vec<RawGroup>,
}

/// Where in the proxy a document runs. A role never has to be guessed from the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// An ingress gateway: requests come from clients that are not trusted.
    Gateway,
    /// The inbound side of a sidecar: requests on their way to the local application.
    Inbound,
    /// The outbound side of a sidecar: calls the local application makes.
    Outbound,
}

/// One lane group: services that release together and the header that carries their lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGroup {
    /// Name of the group, a DNS label. The baggage member is `graylane.<name>`.
    pub name: String,
    /// `namespace/name` of the release that owns the group now; the `rollout` label of metrics.
    pub rollout: String,
    /// Header that carries the lane end to end.
    #[serde(default = "default_carried_header")]
    pub carried_header: String,
    /// Also carry the lane as a W3C baggage member, for apps that forward baggage but not our header.
    #[serde(default, skip_serializing_if = "is_false")]
    pub baggage: bool,
    /// Whose marks are believed. Absent: `drop` on a gateway and on an inbound side that is an entry,
    /// `accept` elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_marks: Option<ClientMarks>,
    /// How a lane is chosen; only on proxies that are an entry of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<RawEntry>,
    /// The local brake. Absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<RawBrake>,
    /// Calls that are still open in a lane so many milliseconds after it is gone from the config are closed by
    /// whoever made them. Absent: they last as long as they last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_after_ms: Option<u64>,
    /// What every hop needs to keep a request in its lane.
    pub lanes: RawLanes,
}

/// What becomes of a carried header that the client of this proxy sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ClientMarks {
    /// Ignored and removed: the lane is chosen here.
    Drop,
    /// Believed only when the peer's mTLS identity is known (inbound side and gateways).
    Peers,
    /// Believed. On a gateway this lets any client choose its lane.
    Accept,
}

/// How an entry proxy chooses a lane: rules in order, then the slot of the unit, then stable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawEntry {
    /// Named values with ranked sources. Absent: the built-in `tenant`, `release`, `group`,
    /// `version` and `env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markers: Option<Vec<RawMarker>>,
    /// Conditions that put a request in a lane; the first that holds wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RawRule>,
    /// The weights, as a table of slots. Absent: no weight-based picks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<RawSlots>,
    /// Whom stickiness follows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stickiness: RawStickiness,
    /// Where a claim is read. Absent: the payload Envoy's `jwt_authn` filter verified.
    #[serde(default, skip_serializing_if = "is_default")]
    pub claims: RawClaims,
}

/// A value taken from the request, with its sources. Whatever order they are listed in, a source of
/// lower trust never overrides a higher one: verified context, then header, then query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawMarker {
    /// Name used by `{"marker": "<name>"}` in rules.
    pub name: String,
    /// Sources, of any field but `marker` itself.
    pub from: Vec<RawField>,
}

/// A rule: a condition and the lane it opts a request into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRule {
    /// Name shown by `graylane explain`, unique in the entry.
    pub name: String,
    /// The lane, or `stable` to keep the matched requests out of every lane.
    pub lane: String,
    /// The condition.
    pub when: RawCondition,
    /// The rule holds from this time, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_unix: Option<u64>,
    /// The rule ends before this time, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix: Option<u64>,
}

/// A condition over one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RawCondition {
    /// Every part holds.
    All(Vec<RawCondition>),
    /// At least one part holds.
    Any(Vec<RawCondition>),
    /// The part does not hold.
    Not(Box<RawCondition>),
    /// One field compared with one operator.
    Match(RawMatch),
    /// This many of 10,000 units hold, always the same ones. Without a unit it does not hold.
    Percent(u32),
}

/// One field compared with one operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawMatch {
    /// What is compared.
    pub field: RawField,
    /// How.
    pub is: RawOperator,
}

/// A part of the request. Not every field exists on every side of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RawField {
    /// First value of this request header, compared byte for byte.
    Header(String),
    /// The same, but only of gRPC calls, where it ranks as context.
    GrpcMetadata(String),
    /// First value of this query key, percent-decoded once.
    Query(String),
    /// First value of this cookie, as sent.
    Cookie(String),
    /// Path without query, as sent.
    Path,
    /// Method, as sent.
    Method,
    /// Host in lower case and without port.
    Host,
    /// String claim of a token that Envoy verified before us; dots step into objects.
    Claim(String),
    /// URI of the peer's mTLS certificate, such as `spiffe://cluster.local/ns/shop/sa/web`.
    Peer,
    /// Value of this W3C baggage member, percent-decoded once.
    Baggage(String),
    /// A marker of this entry.
    Marker(String),
}

/// How a field is compared. An absent field satisfies `absent` and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RawOperator {
    /// Equal, byte for byte.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// Holds somewhere.
    Contains(String),
    /// Equal to one of these.
    In(Vec<String>),
    /// The field is there, even when empty.
    Present,
    /// The field is not there.
    Absent,
    /// The whole value matches this regular expression (linear time; at most 256 characters).
    Regex(String),
    /// A decimal number within bounds, both included.
    Range(RawRange),
    /// A version that satisfies this requirement, such as `>=1.4, <2`; a leading `v` is ignored.
    Semver(String),
}

/// Bounds of a number, both included; at least one is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRange {
    /// Smallest value that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// Largest value that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
}

/// The table of slots: which of 10,000 buckets of units is in which lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawSlots {
    /// Salt of this attempt; fixed while it lasts, so that units keep their slots.
    pub salt: String,
    /// Runs of slots in ascending order, covering 0 to 9,999 without a gap.
    pub runs: Vec<RawRun>,
    /// Weight-based picks stop at this time, in seconds since the Unix epoch, unless it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix: Option<u64>,
}

/// One run of slots: from the end of the run before it up to, not including, `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRun {
    /// First slot that is no longer of this run: 1 to 10,000.
    pub until: u32,
    /// The lane of the run, or `stable`.
    pub lane: String,
}

/// Whom stickiness follows, and what happens to requests that name nobody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawStickiness {
    /// Where the unit is read, best first; the first that is present and not empty is the unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unit: Vec<RawField>,
    /// What happens when no source has a value.
    #[serde(default)]
    pub no_unit: NoUnit,
    /// The cookie that `noUnit: cookie` issues and reads back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cookie: RawCookie,
}

/// What happens to a request without a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum NoUnit {
    /// It goes to stable.
    #[default]
    Stable,
    /// It gets a unit, and the response a cookie with it.
    Cookie,
    /// It is drawn at random each time, and counted as a cohort of its own.
    Random,
}

/// The issued cookie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawCookie {
    /// Name of the cookie.
    pub name: String,
    /// `Max-Age` in seconds.
    pub max_age_seconds: u64,
    /// `Path`.
    pub path: String,
    /// `Secure`: sent over https only.
    pub secure: bool,
    /// `SameSite`.
    pub same_site: SameSite,
}

/// `SameSite` of the issued cookie (RFC 6265bis, section 4.1.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SameSite {
    /// Sent on top-level navigation from elsewhere.
    #[default]
    Lax,
    /// Never sent from elsewhere.
    Strict,
    /// Always sent; browsers want `secure` with it.
    None,
}

/// Where Envoy's dynamic metadata holds verified claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawClaims {
    /// Namespace of the dynamic metadata.
    pub filter: String,
    /// Key below it: `payload_in_metadata` of the `jwt_authn` provider.
    pub key: String,
}

/// What every hop needs to keep a request in its lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLanes {
    /// Every lane of the group but `stable`, each a DNS label.
    pub names: Vec<String>,
    /// The members of the group, as callers address them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<RawDestination>,
    /// The trace ring, for carriers that forward trace ids and nothing else. Absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<RawTrace>,
}

/// A member service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawDestination {
    /// The `service` label of metrics, such as `orders.shop`.
    pub service: String,
    /// Every authority that means this service, with or without a port, in any case.
    pub hosts: Vec<String>,
    /// Lanes in which a version of this service is ready now. In any other lane stable serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<String>,
    /// What the route table matches on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub route_by: RouteBy,
    /// Latency objectives: requests slower than each of these, in milliseconds, are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow_over_ms: Vec<u32>,
}

/// What the route table of a destination matches on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RouteBy {
    /// The route header, written for one hop and only when the lane is ready there.
    #[default]
    Route,
    /// The carried header, by routes the user already has. Gives up the readiness gate.
    Carried,
}

/// The trace ring: trace id to lane, in a fixed number of shared-data slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawTrace {
    /// Workloads (Istio's WORKLOAD_NAME) whose lost lanes are restored by trace id; `*` means every one.
    /// Leave out workloads that start traces of their own.
    pub workloads: Vec<String>,
    /// How long a note is believed, in milliseconds.
    #[serde(default = "default_trace_ttl_ms")]
    pub ttl_ms: u32,
}

// === impl defaults ===

impl Default for RawCookie {
    fn default() -> Self {
        Self {
            name: default_cookie_name(),
            max_age_seconds: DEFAULT_MAX_AGE_SECONDS,
            path: "/".into(),
            secure: false,
            same_site: SameSite::Lax,
        }
    }
}

impl Default for RawClaims {
    fn default() -> Self {
        Self { filter: default_claims_filter(), key: default_claims_key() }
    }
}

/// 30 days.
pub(crate) const DEFAULT_MAX_AGE_SECONDS: u64 = 30 * 24 * 3600;

pub(crate) fn default_carried_header() -> String {
    "x-release-stage".into()
}

pub(crate) fn default_cookie_name() -> String {
    "graylane-unit".into()
}

pub(crate) fn default_claims_filter() -> String {
    "envoy.filters.http.jwt_authn".into()
}

pub(crate) fn default_claims_key() -> String {
    "payload".into()
}

pub(crate) fn default_trace_ttl_ms() -> u32 {
    10_000
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
