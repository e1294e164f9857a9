//! Whether traffic goes where it was sent: the lane's share, fallbacks, lanes lost on the way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::real;
use super::nats::Nats;

/// Users come with many requests each, so shares of requests scatter more than coin tosses: the
/// logarithm of every bet on a share is divided by this.
const USERS: f64 = 5.0;
/// Evidence beyond which there is nothing more to know: what has been mended after an hour is to be seen as soon as
/// what has been mended at once.
const MOST: f64 = 12.0;

/// Evidence that a share is beyond a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Share(Nats);

/// The two shares between which a bet gains below `floor` and loses above it: it stands still at their logarithmic
/// mean, which is next to their geometric one. As far from each other as leaves room to 1, because a wide bet is a
/// quick one. `floor` is above 0; where more is asked for than nineteen of twenty, a bet that narrow would take an hour.
pub fn around(floor: f64) -> (f64, f64) {
    let floor = floor.min(0.95);
    let widest = (1.0 - (1.0 - floor) / 8.0) / floor;
    let factor = widest.min(1.75);
    (floor * factor, floor / factor)
}

// === impl Share ===

impl Share {
    /// A bet that the share is `other`, against the bound `null`; `part` of `all` were counted.
    pub fn bet(&mut self, part: u64, all: u64, null: f64, other: f64) {
        let inside = |share: f64| share > 0.0 && share < 1.0;
        if all == 0 || !inside(null) || !inside(other) {
            return;
        }
        let (part, rest) = (real(part.min(all)), real(all - part.min(all)));
        let step = part * f64::ln(other / null) + rest * f64::ln((1.0 - other) / (1.0 - null));
        // Below zero there is nothing to win back: the share may go wrong at any time (CUSUM; Page 1954).
        let next = self.0.plus((step / USERS).min(2.0));
        self.0 = next.max(Nats::default()).min(Nats::default().plus(MOST));
    }

    /// Logarithm of the evidence.
    pub fn get(self) -> f64 {
        self.0.get()
    }
}
