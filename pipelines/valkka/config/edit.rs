//! Changes of the file that somebody makes while it runs: a camera more or less. All else in it, comments included, stays.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde_json::{Map, Value as Json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

/// Writes a camera's table at the end of the cameras.
pub fn add_camera(file: &Path, name: &str, camera: &Map<String, Json>) -> io::Result<()> {
    change(file, |document| {
        let cameras = document.entry("cameras").or_insert_with(|| Item::Table(implicit()));
        let cameras = cameras.as_table_mut().ok_or_else(|| io::Error::other("its cameras are an inline table"))?;
        if cameras.contains_key(name) {
            return Err(io::Error::other(format!("it has a table cameras.{name} already, which is not enabled")));
        }
        let mut table = Table::new();
        for (key, value) in camera.iter().filter(|(key, _)| *key != "name") {
            if let Some(value) = toml(value) {
                table.insert(key, Item::Value(value));
            }
        }
        table.decor_mut().set_prefix("\n");
        cameras.insert(name, Item::Table(table));
        Ok(())
    })
}

/// Takes a camera's table out, if it is there.
pub fn remove_camera(file: &Path, name: &str) -> io::Result<()> {
    change(file, |document| {
        if let Some(cameras) = document.get_mut("cameras").and_then(Item::as_table_like_mut) {
            cameras.remove(name);
        }
        Ok(())
    })
}

/// Writes a camera's zones among the parameters of its analysis.
pub fn set_zones(file: &Path, name: &str, zones: &Json) -> io::Result<()> {
    change(file, |document| {
        let camera = document.get_mut("cameras").and_then(|cameras| cameras.get_mut(name));
        let camera = camera.and_then(Item::as_table_like_mut);
        let camera = camera.ok_or_else(|| io::Error::other(format!("it has no table cameras.{name}")))?;
        let analysis = camera.entry("analysis").or_insert_with(|| Item::Table(Table::new()));
        let analysis = analysis.as_table_like_mut().ok_or_else(|| io::Error::other("its analysis is no table"))?;
        let parameters = analysis.entry("parameters").or_insert_with(|| Item::Value(InlineTable::new().into()));
        let parameters =
            parameters.as_table_like_mut().ok_or_else(|| io::Error::other("its parameters are no table"))?;
        parameters.insert("zones", Item::Value(toml(zones).unwrap_or_else(|| Array::new().into())));
        Ok(())
    })
}

/// `[cameras.lobby]` without a line `[cameras]` before it.
fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

fn change(file: &Path, change: impl FnOnce(&mut DocumentMut) -> io::Result<()>) -> io::Result<()> {
    let mut document: DocumentMut = fs::read_to_string(file)?.parse().map_err(io::Error::other)?;
    change(&mut document)?;
    // The whole file or none of it, whatever happens meanwhile; a link stays one.
    let file = fs::canonicalize(file)?;
    let part = file.with_extension(format!("toml.{}", std::process::id()));
    let written = write_private(&part, &document.to_string())
        .and_then(|()| fs::set_permissions(&part, fs::metadata(&file)?.permissions()))
        .and_then(|()| fs::rename(&part, &file));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// For nobody else as long as it has not the rights of the file whose place it takes; on the disk before it takes that.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// `None` for what TOML cannot say.
fn toml(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => (*flag).into(),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64()?.into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::Array(items.iter().filter_map(toml).collect::<Array>()),
        Json::Object(map) => {
            let entries = map.iter().filter_map(|(key, value)| Some((key, toml(value)?)));
            Value::InlineTable(entries.collect::<InlineTable>())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_comes_and_goes_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("valkka.toml");
        let before = "# mine\n[cameras.a] # the first\nuri = \"test:ball\"\n\n[log]\nformat = \"text\"\n";
        fs::write(&file, before).unwrap();
        let camera =
            serde_json::json!({ "name": "b", "uri": "rtsp://cam/\"1\"", "analysis": { "fps": 3 }, "record": true });
        add_camera(&file, "b", camera.as_object().unwrap()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# mine\n[cameras.a] # the first\n"), "{text}");
        let config = super::super::Config::load(&file).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(config.cameras.len(), 2, "{text}");
        assert!(config.cameras.iter().any(|c| c.name == "b" && c.record && c.analysis.as_ref().unwrap().fps == 3));
        remove_camera(&file, "b").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // What the user has written of one that rests is not written over.
        assert!(add_camera(&file, "a", camera.as_object().unwrap()).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }

    #[test]
    fn a_file_without_cameras_gets_its_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("valkka.toml");
        fs::write(&file, "").unwrap();
        add_camera(&file, "a", serde_json::json!({ "uri": "test:ball" }).as_object().unwrap()).unwrap();
        assert_eq!(super::super::Config::load(&file).unwrap().cameras[0].name, "a");
    }

    #[test]
    fn zones_are_parameters_of_a_cameras_analysis() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("valkka.toml");
        fs::write(
            &file,
            "[cameras.a]\nuri = \"test:ball\"\nanalysis = { fps = 3 }\n[cameras.b]\nuri = \"test:ball\"\n",
        )
        .unwrap();
        let zones = serde_json::json!([{ "name": "door", "polygon": [[0.0, 0.5], [1, 0.5], [1.0, 1.0]] }]);
        for name in ["a", "b"] {
            set_zones(&file, name, &zones).unwrap();
        }
        let config = super::super::Config::load(&file).unwrap();
        for camera in &config.cameras {
            let found = camera.analysis.as_ref().unwrap().zones();
            assert_eq!((found[0].name.as_str(), found[0].points[1]), ("door", [1.0, 0.5]));
        }
        assert_eq!(config.cameras[0].analysis.as_ref().unwrap().fps, 3);
        assert!(set_zones(&file, "nobody", &zones).is_err());
    }
}
