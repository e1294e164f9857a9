//! One bridge for the bed, and for each pod a network of its own with an address on it.
//!
//! Needs the network namespace that `scripts/in-bed.sh` makes, and `ip` of iproute2.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, ensure};

/// The bridge; it goes with the bed.
#[derive(Debug)]
pub(super) struct Network {
    bridge: String,
    number: u8,
    pods: AtomicU16,
}

/// The network of a pod; it goes when dropped.
#[derive(Debug)]
pub struct Place {
    /// The address of the pod.
    pub ip: Ipv4Addr,
    /// Name of its network namespace.
    pub namespace: String,
    link: String,
}

/// Pods of one bed.
const MOST: u16 = 250 * 250;

// === impl Network ===

impl Network {
    pub(super) fn new(number: u8) -> Result<Self> {
        let network = Self { bridge: format!("bed{number}"), number, pods: AtomicU16::new(0) };
        let (bridge, host) = (&network.bridge, network.host());
        let made =
            ip(&[], &format!("link add {bridge} type bridge\naddr add {host}/16 dev {bridge}\nlink set {bridge} up\n"));
        made.context("make the bridge of the bed")?;
        Ok(network)
    }

    /// The address of everything that is no pod.
    pub(super) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 76 + self.number, 0, 1)
    }

    /// A network for one more pod.
    pub(super) fn place(&self) -> Result<Place> {
        let count = self.pods.fetch_add(1, Ordering::Relaxed);
        ensure!(count < MOST, "a bed has room for {MOST} pods");
        let [third, fourth] = [count / 250 + 1, count % 250 + 1].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
        let ip_of_pod = Ipv4Addr::new(10, 76 + self.number, third, fourth);
        let place = Place {
            ip: ip_of_pod,
            namespace: format!("bed{}-{count}", self.number),
            link: format!("b{}v{count}", self.number),
        };
        let (Place { namespace, link, .. }, bridge, host) = (&place, &self.bridge, self.host());
        let outside = format!(
            "netns add {namespace}\nlink add {link} type veth peer name eth0 netns {namespace}\n\
             link set {link} master {bridge} up\n"
        );
        let inside = format!(
            "link set lo up\naddr add {ip_of_pod}/16 dev eth0\nlink set eth0 up\nroute add default via {host}\n"
        );
        ip(&[], &outside).and_then(|()| ip(&["-n", namespace], &inside)).context("make the network of a pod")?;
        Ok(place)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is left over ends with the namespaces of the test binary.
        let _ = ip(&[], &format!("link del {}\n", self.bridge));
    }
}

// === impl Place ===

impl Place {
    /// A command that runs in the network of the pod.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.entry()).arg(program);
        command
    }

    pub(super) fn entry(&self) -> String {
        format!("--net=/run/netns/{}", self.namespace)
    }

    /// Pulls the plug: nothing reaches the pod or leaves it; connections stay open and hang.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn cut(&self) -> Result<()> {
        ip(&[], &format!("link set {} down\n", self.link))
    }

    /// Undoes [`Place::cut`].
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn mend(&self) -> Result<()> {
        ip(&[], &format!("link set {} up\n", self.link))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = ip(&[], &format!("link del {}\nnetns del {}\n", self.link, self.namespace));
    }
}

/// Runs lines of `ip` in one process.
fn ip(args: &[&str], lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(args).args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("run ip (apt-get install iproute2)")?;
    child.stdin.take().context("no standard input")?.write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ip: {} in {lines}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
