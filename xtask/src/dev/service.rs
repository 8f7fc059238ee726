//! The processes of `cargo xtask dev`.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use crate::{command, progress};

/// How many lines of its log are shown when a service ends.
const LOG_TAIL_LINES: usize = 20;

/// A process that is to run until it is stopped.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    command: Command,
    log: PathBuf,
}

impl Service {
    /// `name` is for messages; both outputs go to `log`, which is started anew.
    pub fn new(name: &'static str, command: Command, log: PathBuf) -> Self {
        Self { name, command, log }
    }
}

/// Services that run. Dropping this stops them, and everything they started.
#[derive(Debug, Default)]
pub struct Services {
    running: Vec<(Service, Child)>,
}

impl Services {
    /// Starts one more.
    pub fn start(&mut self, mut service: Service) -> Result<()> {
        let log = File::create(&service.log).with_context(|| format!("cannot write {}", service.log.display()))?;
        service.command.stdout(log.try_clone()?).stderr(log);
        let child = command::spawn(&mut service.command)?;
        self.running.push((service, child));
        Ok(())
    }

    /// Fails when one has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        for (service, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{} ended by itself ({status}), so everything is stopped. The end of {}:\n{}",
                    service.name,
                    service.log.display(),
                    progress::tail(&service.log, LOG_TAIL_LINES)
                );
            }
        }
        Ok(())
    }

    /// The end of each log, for a message.
    pub fn logs(&self) -> String {
        let ends = self.running.iter().map(|(service, _)| {
            format!(
                "The end of {}:\n{}",
                service.log.display(),
                progress::tail(&service.log, LOG_TAIL_LINES)
            )
        });
        ends.collect::<Vec<_>>().join("\n")
    }

    /// Stops all of them.
    pub fn stop(&mut self) {
        let mut children: Vec<&mut Child> = self.running.iter_mut().map(|(_, child)| child).collect();
        command::stop(&mut children);
        self.running.clear();
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_ends_is_named_with_the_end_of_its_log() -> Result<()> {
        let log = std::env::temp_dir().join(format!("baton-service-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no luck; exit 3"]);
        let mut services = Services::default();
        services.start(Service::new("the thing", command, log.clone()))?;
        let error = loop {
            if let Err(error) = services.check() {
                break error.to_string();
            }
        };
        assert!(
            error.starts_with("the thing ended by itself (exit status: 3)"),
            "{error}"
        );
        assert!(error.ends_with("  no luck"), "{error}");
        std::fs::remove_file(log)?;
        Ok(())
    }
}
