//! Starts the processes that keep runs of ad-hoc code, one for each order.

use std::{path::PathBuf, process::Stdio};

use tokio::{process::Command, sync::mpsc};

use super::{
    interpreter::Surroundings,
    notes::Notes,
    runner::{ORDERS, Order},
};

/// Serves orders until their sender is dropped.
pub(crate) fn start(surroundings: Surroundings, notes: Notes) -> mpsc::Sender<Order> {
    let (sender, mut orders) = mpsc::channel(ORDERS);
    tokio::task::spawn_local(async move {
        while let Some(order) = orders.recv().await {
            match order {
                Order::MakeSpare => make(&surroundings, &notes),
                // What runs is said to each of them.
                Order::Configure(_) => {}
            }
        }
    });
    sender
}

fn make(surroundings: &Surroundings, notes: &Notes) {
    // The link finds this very file even when the host has replaced the binary since.
    let mut command = Command::new(PathBuf::from("/proc/self/exe"));
    command
        .arg0("rumi-guest")
        .arg("code")
        .arg(&surroundings.socket)
        .env_clear()
        .envs(
            surroundings
                .network
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            // Collected when it ends, however that comes.
            tokio::task::spawn_local(async move { child.wait().await });
        }
        Err(error) => notes.spare_failed(format!("cannot start a process for code: {error}")),
    }
}
