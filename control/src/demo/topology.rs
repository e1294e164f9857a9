//! What the demo consists of: four services, their versions, and the ports of each.

use std::net::{Ipv4Addr, TcpListener};

/// A service and its versions, in the order of the chain.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Name, and the host that callers use.
    pub name: &'static str,
    /// The lanes it has a version in.
    pub lanes: &'static [&'static str],
}

/// The chain: each service calls the one after it.
pub const CHAIN: [Service; 4] = [
    Service { name: "frontend", lanes: &["stable", "canary"] },
    Service { name: "cart", lanes: &["stable"] },
    Service { name: "orders", lanes: &["stable", "canary"] },
    Service { name: "payment", lanes: &["stable"] },
];

/// A version of a service: an app behind its own Envoy.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The service.
    pub service: &'static str,
    /// The lane.
    pub lane: &'static str,
    /// The service it calls, if any.
    pub next: Option<&'static str>,
    /// Admin interface of its Envoy.
    pub admin: u16,
    /// Where its Envoy takes requests for the app.
    pub inbound: u16,
    /// Where its Envoy takes the app's calls.
    pub outbound: u16,
    /// The app.
    pub app: u16,
}

/// Every pod, and the ports of the two gateways.
#[derive(Clone, Debug)]
pub struct Topology {
    /// One pod for each version.
    pub pods: Vec<Pod>,
    /// The gateway with the filter.
    pub gateway: Gateway,
    /// The same gateway without it.
    pub plain: Gateway,
}

/// A gateway.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    /// Its name.
    pub name: &'static str,
    /// Admin interface.
    pub admin: u16,
    /// Where clients come in.
    pub listen: u16,
}

// === impl Pod ===

impl Pod {
    /// `orders-canary`: the name of the version, its Envoy and its cluster.
    pub fn name(&self) -> String {
        format!("{}-{}", self.service, self.lane)
    }

    /// The Deployment it would belong to; stable ones have the name of their service.
    pub fn workload(&self) -> String {
        if self.lane == "stable" { self.service.into() } else { self.name() }
    }
}

// === impl Topology ===

impl Topology {
    /// Chooses free ports for everything, from `first` upwards.
    pub fn on_free_ports(first: u16) -> Option<Self> {
        let mut ports = (first..u16::MAX).filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        let mut port = || ports.next();
        let gateway = Gateway { name: "gateway", admin: port()?, listen: port()? };
        let plain = Gateway { name: "gateway-without-filter", admin: port()?, listen: port()? };
        let mut pods = Vec::new();
        for (index, service) in CHAIN.iter().enumerate() {
            for lane in service.lanes {
                pods.push(Pod {
                    service: service.name,
                    lane,
                    next: CHAIN.get(index + 1).map(|next| next.name),
                    admin: port()?,
                    inbound: port()?,
                    outbound: port()?,
                    app: port()?,
                });
            }
        }
        Some(Self { pods, gateway, plain })
    }
}
