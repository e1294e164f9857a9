//! The sidecar of `cart` from the chain, alone: its application and the services it calls are toy
//! applications, and the test makes the calls that the application would make.

use anyhow::Result;
use graylane_policy::raw::RawConfig;
use graylane_tests::app::App;
use graylane_tests::client::{Answer, Ask, Connection, Protocol};
use graylane_tests::ecds;
use graylane_tests::envoy::Envoy;
use graylane_tests::scenario::Scenario;

/// Where requests for `cart` come in.
pub const INBOUND: u16 = 10_130;
/// Where the calls of `cart` go out.
pub const OUTBOUND: u16 = 10_131;

const SIDES: [&str; 2] = ["inbound", "outbound"];

/// What stands around the sidecar.
const APPS: [(&str, u16); 4] =
    [("cart", 10_132), ("orders stable", 10_140), ("orders canary", 10_150), ("payment", 10_160)];

/// The running sidecar. Everything ends when it is dropped.
pub struct Cart {
    pub scenario: Scenario,
    pub envoy: Envoy,
    _apps: Vec<App>,
}

// === impl Cart ===

impl Cart {
    /// Starts it from a copy of the chain, and waits until both sides run their documents.
    pub async fn start(scenario: Scenario) -> Result<Self> {
        let cart = Self::begin(scenario).await?;
        for side in SIDES {
            let document: RawConfig = serde_json::from_str(&ecds::document(&cart.scenario.folder.join(file(side)))?)?;
            cart.envoy.wait_for_generation(side, document.generation, 2)?;
        }
        Ok(cart)
    }

    /// Starts it with configs that do nothing.
    pub async fn without_filters(scenario: Scenario) -> Result<Self> {
        for side in SIDES {
            ecds::make_inert(&scenario.folder.join(file(side)))?;
        }
        Self::begin(scenario).await
    }

    async fn begin(scenario: Scenario) -> Result<Self> {
        let mut apps = Vec::new();
        for (name, port) in APPS {
            apps.push(App::serve(name, scenario.port(port)).await?);
        }
        let envoy = scenario.how("cart-stable.yaml", 9913, 1)?.ready()?;
        Ok(Self { scenario, envoy, _apps: apps })
    }

    /// A connection to one of its sides.
    pub async fn connect(&self, side: u16, protocol: Protocol) -> Result<Connection> {
        Connection::open(self.scenario.port(side), protocol).await
    }

    /// The answer to one request to one of its sides.
    pub async fn send(&self, side: u16, ask: &Ask) -> Result<Answer> {
        self.connect(side, Protocol::Http1).await?.send(ask).await
    }

    /// Changes the document of a filter and waits until its workers run it.
    pub fn change(&self, filter: &str, edit: impl FnOnce(&mut RawConfig)) -> Result<()> {
        let generation = change(&self.scenario, filter, edit)?;
        self.envoy.wait_for_generation(filter, generation, 2)
    }
}

/// Changes the document of a filter in a copy of the chain, and tells its new generation.
pub fn change(scenario: &Scenario, filter: &str, edit: impl FnOnce(&mut RawConfig)) -> Result<u64> {
    let mut generation = 0;
    ecds::change(&scenario.folder.join(file(filter)), |document| {
        edit(document);
        generation = document.generation;
    })?;
    Ok(generation)
}

/// The file with the document of a filter.
pub fn file(filter: &str) -> String {
    format!("ecds/cart-stable-{filter}.json")
}

/// The name of the application that answered.
pub fn who(answer: &Answer) -> Result<String> {
    Ok(answer.json()?["name"].as_str().unwrap_or_default().to_owned())
}

/// The values of a header as the application received it.
pub fn received(answer: &Answer, header: &str) -> Result<Vec<String>> {
    let values = answer.json()?["headers"][header].clone();
    Ok(serde_json::from_value::<Option<Vec<String>>>(values)?.unwrap_or_default())
}
