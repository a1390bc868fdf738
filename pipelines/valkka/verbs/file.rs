//! `valkka check`, `valkka init`, `valkka schema`: the configuration as a file.

use std::{fs::OpenOptions, io::Write, path::Path, path::PathBuf};

use anyhow::{Context, Result};

use super::print;
use crate::{
    config::{self, Config},
    plan::Plan,
};

/// Tells everything that is wrong with a configuration, or that nothing is.
pub fn check(path: Option<PathBuf>) -> Result<()> {
    let path = path.map_or_else(config::find, Ok)?;
    let config = Config::load(&path)?;
    // The descriptions, too: a value may not fit into its template.
    let plan = Plan::new(&config, &frame_ring::runtime_folder().join("runs/0"))?;
    let (cameras, processes) = (config.cameras.len(), plan.processes.len());
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let cameras = count(cameras, "camera", "cameras");
    print(&format!("{}: {cameras}, {}\n", path.display(), count(processes, "process", "processes")));
    Ok(())
}

/// Writes the commented example.
pub fn init(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(config::EXAMPLE.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))?;
    let shown = path.display();
    let run =
        if path == Path::new(config::FILE_NAME) { "valkka run".to_owned() } else { format!("valkka run {shown}") };
    print(&format!("{shown} has two test pictures in it. Try it: {run}\n"));
    Ok(())
}

/// Prints the schema.
pub fn schema() -> Result<()> {
    let schema = serde_json::to_string_pretty(&config::schema::schema()).context("a schema is JSON")?;
    print(&(schema + "\n"));
    Ok(())
}
