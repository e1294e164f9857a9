//! A story: a world, an engine on it, and a clock.

use futures::FutureExt;
use graylane::engine::Millis;
use graylane::engine::run::{Engine, Pass};
use graylane::engine::status::{Phase, Status};

use crate::traffic::Traffic;
use crate::world::World;

/// How far the clock is turned at a time.
const TICK_MS: Millis = 100;
const START_MS: Millis = 1_800_000_000_000;

pub struct Story {
    pub world: World,
    pub now: Millis,
    pub crashes: u32,
    engine: Engine<World, World, World>,
}

/// A release of `orders` and `payment` through two weights with a wait between.
pub const TWO_STEPS: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}, {service: payment}]
  entry: {gateways: [{namespace: istio-ingress}]}
  rules: [{name: testers, lane: canary, when: {match: {field: {header: x-tester}, is: present}}}]
  steps: [{weight: 5%}, {pause: {duration: 30s}}, {weight: 50%}, {pause: {}}, {weight: 100%}]
  promotion: {strategy: copyTemplate, bake: 10s}
";

/// A release of the same that waits at 10% for a verdict.
pub const JUDGED: &str = "
  lanes: [{name: canary}]
  members: [{service: orders}, {service: payment}]
  entry: {gateways: [{namespace: istio-ingress}]}
  steps: [{weight: 10%}, {analysis: {duration: 5m}}, {weight: 50%}, {pause: {}}]
  analysis: {deadline: 10m}
";

impl Story {
    pub fn new(world: World) -> Self {
        let engine = Engine::new(world.clone(), world.clone(), world.clone());
        Self { world, now: START_MS, crashes: 0, engine }
    }

    /// A release that has just been made.
    pub fn of(yaml: &str) -> Self {
        let world = World::shop();
        world.add("summer", yaml);
        Self::new(world)
    }

    /// The same under traffic.
    pub fn under(yaml: &str, traffic: Traffic) -> Self {
        let story = Self::of(yaml);
        story.world.lock().traffic = Some(traffic);
        story
    }

    /// A controller that knows nothing takes over.
    pub fn restart(&mut self) {
        let world = self.world.clone();
        self.engine = Engine::new(world.clone(), world.clone(), world);
    }

    /// Looks until there is nothing more to do at this time. A controller that dies is replaced.
    pub fn settle(&mut self) -> Pass {
        for _ in 0..100 {
            match self.engine.pass(self.now).now_or_never() {
                Some(pass) if !pass.changed => return pass,
                Some(_) => {}
                None => {
                    self.crashes += 1;
                    self.restart();
                }
            }
        }
        panic!("never comes to rest: {:?}", self.world.status("summer"));
    }

    /// Lets time pass; proxies take what is delivered.
    pub fn wait(&mut self, millis: Millis) {
        let end = self.now + millis;
        while self.now < end {
            self.settle();
            self.turn();
        }
        self.settle();
    }

    /// Turns the clock by a tick, in which proxies take what is delivered and serve.
    fn turn(&mut self) {
        let mut inner = self.world.lock();
        inner.spread();
        let weights = inner.weights();
        self.now += TICK_MS;
        inner.question(self.now);
        if let Some(traffic) = &mut inner.traffic {
            traffic.serve(&weights, TICK_MS, self.now);
        }
    }

    /// Lets time pass until something holds.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..100_000 {
            self.settle();
            let status = self.world.status("summer");
            if holds(&status) {
                return status;
            }
            self.turn();
        }
        panic!("{what} never came: {:#?}", self.world.status("summer"));
    }

    pub fn until_phase(&mut self, phase: Phase) -> Status {
        self.until(&format!("{phase:?}"), |status| status.phase == phase)
    }

    pub fn until_weight(&mut self, weight: &str) -> Status {
        self.until(weight, |status| status.weight == weight)
    }

    pub fn status(&self) -> Status {
        self.world.status("summer")
    }
}
