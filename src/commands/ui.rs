//! `--ui`: opens the page of a cluster, and says where it is.

use crate::cli::UiArgs;
use crate::failure::Failure;
use ::coordinator::ClusterHandle;
use std::sync::Arc;
use study::service::Service;

/// The token of the page where no flag gives it: no list of processes shows it.
#[cfg(feature = "ui")]
const TOKEN_VARIABLE: &str = "RAILYARD_UI_TOKEN";

/// Opens the page of `service`, if one is asked for, and says its address, with the token behind it.
#[cfg(feature = "ui")]
pub(super) async fn open(
    args: &UiArgs,
    service: &Arc<Service>,
    cluster: &ClusterHandle,
    memory_limit_bytes: Option<u64>,
) -> Result<(), Failure> {
    use anyhow::anyhow;
    use yard::{Token, Yard, YardOptions};

    let Some(address) = args.ui else { return Ok(()) };
    // A variable may be set for whatever has a page, and one that is set to nothing says nothing.
    let variable = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    let given = args.ui_token.clone().map(|token| ("--ui-token", token));
    let given = given.or_else(|| variable.map(|token| (TOKEN_VARIABLE, token)));
    let given = given.map(|(whence, token)| {
        Token::given(&token).map_err(|problem| Failure::Usage(anyhow!("{whence}: {problem}")))
    });
    let given = given.transpose()?;
    let drawn = given.is_none();
    let token = given.unwrap_or_else(Token::draw);
    let options = YardOptions {
        hosts: args.ui_host.clone(),
        open_metrics: args.ui_open_metrics,
        memory_limit_bytes,
        version: env!("RAILYARD_VERSION").to_owned(),
    };
    let behind = if drawn { format!("#token={}", token.word()) } else { String::new() };
    let yard = Yard::new(Arc::clone(service), cluster.clone(), token, options);
    let address = yard::serve(yard, address).await.map_err(Failure::failed)?;
    crate::output::say(&format!("the yard: http://{address}/{behind}"));
    if !address.ip().is_loopback() {
        crate::output::say(
            "the yard is open to other machines, without encryption: whoever reads along has the token",
        );
    }
    Ok(())
}

#[cfg(not(feature = "ui"))]
pub(super) async fn open(
    args: &UiArgs,
    _: &Arc<Service>,
    _: &ClusterHandle,
    _: Option<u64>,
) -> Result<(), Failure> {
    std::future::ready(()).await;
    match args.ui {
        Some(_) => Err(Failure::Usage(anyhow::anyhow!(
            "--ui: this build has no page; build it with `--features ui`"
        ))),
        None => Ok(()),
    }
}
