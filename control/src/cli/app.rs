//! `graylane app`: the toy service of the demo, for scenarios that want it as a process.

use anyhow::Context;
use tokio::net::TcpListener;

use super::{Exit, print};
use crate::app::{App, Next, Setup};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name and version, such as `cart-stable`
    #[arg(long)]
    name: String,
    /// Address to listen on; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Address that calls to the next service go to
    #[arg(long, value_name = "HOST:PORT", requires = "host")]
    call: Option<String>,
    /// Name of the next service
    #[arg(long, requires = "call")]
    host: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let call = args.call.clone().zip(args.host.clone()).map(|(addr, host)| Next { host, addr });
    let setup = Setup { name: args.name.clone(), call };
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(&args.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}; name a free address", args.listen))?;
        let app = App::start(listener, setup)?;
        print(&format!("{}\n", app.addr))?;
        app.serve().await;
        Ok(Exit::Done)
    })
}
