//! `/api/cameras`: what there is to see, and changing it.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{App, access::Access, body::JsonBody, control::Zone, problem::Problem};

/// What the analyser takes, which has the same limits in `pipelines/analyse/src/zone.rs`.
const CORNERS: usize = 64;
const ZONES: usize = 32;
const ZONE_NAME_BYTES: usize = 64;
/// Keys with which a camera is more than an address: with them anything can be run.
const POWERFUL: [&str; 3] = ["pipeline", "template", "values"];

/// The cameras as they are configured, without credentials.
pub async fn list(State(app): State<App>) -> Json<Value> {
    Json(json!({ "cameras": app.control.cameras() }))
}

/// Adds a camera and starts it.
pub async fn add(
    State(app): State<App>,
    Extension(access): Extension<Arc<Access>>,
    JsonBody(mut camera): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    let powerful = POWERFUL.into_iter().find(|key| camera.contains_key(*key));
    if let (Some(key), false) = (powerful, access.is_of_the_user()) {
        let message = format!(
            "{key:?} is taken from those alone who know the token, and there is none: set server.token, write the camera \
             into the configuration, or use `valkka camera add`"
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    if camera.get("name").is_none_or(|name| name.is_null() || name == "") {
        camera.insert("name".into(), free_name(&app.control.cameras()).into());
    }
    let camera = app.control.add_camera(camera).await?;
    let name = camera.get("name").and_then(Value::as_str).unwrap_or_default();
    let location = [(header::LOCATION, format!("/api/cameras/{name}"))];
    Ok((StatusCode::CREATED, location, Json(camera)).into_response())
}

/// `camera1`, or the next number that is free.
fn free_name(cameras: &[Map<String, Value>]) -> String {
    let taken = |name: &String| cameras.iter().any(|camera| camera.get("name") == Some(&json!(name)));
    (1..).map(|number| format!("camera{number}")).find(|name| !taken(name)).expect("there are numbers enough")
}

/// One camera as it is configured.
pub async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Map<String, Value>>, Problem> {
    let found = app.control.cameras().into_iter().find(|camera| camera.get("name") == Some(&json!(name)));
    found.map(Json).ok_or_else(|| Problem::no_camera(&name))
}

/// Stops a camera and forgets it.
pub async fn remove(State(app): State<App>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    app.control.remove_camera(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces a camera's zones.
pub async fn set_zones(
    State(app): State<App>,
    Path(name): Path<String>,
    JsonBody(zones): JsonBody<Vec<Zone>>,
) -> Result<StatusCode, Problem> {
    if let Some(mistake) = mistake_in(&zones) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, mistake));
    }
    app.control.set_zones(&name, zones).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn mistake_in(zones: &[Zone]) -> Option<String> {
    if zones.len() > ZONES {
        return Some(format!("{} zones are too many: {ZONES} at most", zones.len()));
    }
    zones.iter().enumerate().find_map(|(index, Zone { name, points })| {
        if name.is_empty() || name.len() > ZONE_NAME_BYTES || name.contains(char::is_control) {
            Some(format!("zone {}: its name has to have 1 to {ZONE_NAME_BYTES} bytes", index + 1))
        } else if zones[..index].iter().any(|other| other.name == *name) {
            Some(format!("two zones are called {name:?}"))
        } else if !(3..=CORNERS).contains(&points.len()) {
            Some(format!("zone {name:?}: {} corners; it needs 3 to {CORNERS}", points.len()))
        } else if points.as_flattened().iter().any(|part| !(0.0..=1.0).contains(part)) {
            Some(format!("zone {name:?}: corners are [x, y] from 0 to 1 of the picture"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, points: &[[f64; 2]]) -> Zone {
        Zone { name: name.into(), points: points.to_vec() }
    }

    #[test]
    fn who_gives_no_name_gets_the_next_number() {
        let camera = |name: &str| Map::from_iter([("name".to_owned(), json!(name))]);
        assert_eq!(free_name(&[]), "camera1");
        assert_eq!(free_name(&[camera("camera1"), camera("lobby"), camera("camera3")]), "camera2");
    }

    #[test]
    fn zones_are_polygons_in_the_picture_with_names_of_their_own() {
        let corners = [[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]];
        assert_eq!(mistake_in(&[zone("door", &corners), zone("yard", &corners)]), None);
        for wrong in [
            vec![zone("", &corners)],
            vec![zone(&"ä".repeat(33), &corners)],
            (0..33).map(|number| zone(&number.to_string(), &corners)).collect(),
            vec![zone("door", &corners[..2])],
            vec![zone("door", &corners), zone("door", &corners)],
            vec![zone("door", &[[0.0, 0.0], [1.0, 0.0], [0.5, 1.01]])],
            vec![zone("door", &[[0.0, 0.0], [1.0, 0.0], [0.5, f64::NAN]])],
        ] {
            assert!(mistake_in(&wrong).is_some(), "{wrong:?}");
        }
    }
}
