//! Zones of a camera's picture, and who is in them.
//!
//! An object is where it stands: the middle of its box's lower edge. It enters a zone when it was seen there in `inertia`
//! pictures in a row, and leaves it in the same way.

use std::collections::HashMap;

use serde::Deserialize;

use crate::geometry::Polygon;

/// A part of the picture with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// Unique for the camera.
    pub name: String,
    /// Where it is.
    pub polygon: Polygon,
    /// Labels of objects that count; all if it is empty.
    pub labels: Vec<String>,
    /// Pictures in a row until an object has entered, or left.
    pub inertia: u32,
}

/// A zone as it is written down.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Any text, not empty.
    pub name: String,
    /// Corners, each `[x, y]` in shares of width and height.
    pub polygon: Vec<[f64; 2]>,
    /// Labels of objects that count; all if it is left out.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Pictures in a row until an object has entered, or left.
    #[serde(default = "at_once")]
    pub inertia: u32,
}

fn at_once() -> u32 {
    1
}

/// More zones than this nobody tells apart in a picture.
const MAX_ZONES: usize = 32;
const MAX_NAME: usize = 64;

/// Checks zones as they are written down.
pub fn zones_of(configs: &[ZoneConfig]) -> Result<Vec<Zone>, String> {
    if configs.len() > MAX_ZONES {
        return Err(format!("a camera has at most {MAX_ZONES} zones, not {}", configs.len()));
    }
    let mut zones: Vec<Zone> = Vec::with_capacity(configs.len());
    for config in configs {
        let name = &config.name;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(format!("zone {name:?}: a name has 1 to {MAX_NAME} bytes"));
        }
        if zones.iter().any(|zone| zone.name == *name) {
            return Err(format!("zone {name:?}: two zones have this name"));
        }
        let polygon = Polygon::try_from(config.polygon.clone()).map_err(|error| format!("zone {name:?}: {error}"))?;
        let (labels, inertia) = (config.labels.clone(), config.inertia.max(1));
        zones.push(Zone { name: name.clone(), polygon, labels, inertia });
    }
    Ok(zones)
}

/// Where one object is.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// By zone: is the object in it, and for how many pictures has it been seen on the other side of the line?
    by_zone: HashMap<String, (bool, u32)>,
    /// Zones that it has been in, in the order of its coming.
    entered: Vec<String>,
}

impl Presence {
    /// Notes where an object stands in one picture. True if it has entered or left a zone.
    pub fn stand(&mut self, zones: &[Zone], label: &str, foot: [f64; 2]) -> bool {
        let counts = |zone: &&Zone| zone.labels.is_empty() || zone.labels.iter().any(|l| l == label);
        // Nobody is in a zone that is no more, or is not about such objects any more.
        let gone = self.by_zone.extract_if(|name, _| !zones.iter().filter(counts).any(|zone| zone.name == *name));
        let mut changed = gone.filter(|(_, (inside, _))| *inside).count() > 0;
        for zone in zones.iter().filter(counts) {
            let (inside, other_side) = self.by_zone.entry(zone.name.clone()).or_default();
            if zone.polygon.contains(foot) == *inside {
                *other_side = 0;
                continue;
            }
            *other_side += 1;
            if *other_side >= zone.inertia {
                (*inside, *other_side) = (!*inside, 0);
                changed = true;
                if *inside && !self.entered.contains(&zone.name) {
                    self.entered.push(zone.name.clone());
                }
            }
        }
        changed
    }

    /// Zones that it is in now, in the order of the zones.
    pub fn current(&self, zones: &[Zone]) -> Vec<String> {
        let inside = |zone: &&Zone| self.by_zone.get(&zone.name).is_some_and(|(inside, _)| *inside);
        zones.iter().filter(inside).map(|zone| zone.name.clone()).collect()
    }

    /// Zones that it has ever been in.
    pub fn entered(&self) -> &[String] {
        &self.entered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, left: f64, right: f64) -> ZoneConfig {
        let polygon = vec![[left, 0.0], [right, 0.0], [right, 1.0], [left, 1.0]];
        ZoneConfig { name: name.into(), polygon, labels: Vec::new(), inertia: 1 }
    }

    #[test]
    fn objects_enter_and_leave() {
        let zones = zones_of(&[config("left", 0.0, 0.5), config("middle", 0.4, 0.6)]).unwrap();
        let mut presence = Presence::default();
        let mut walk = |x: f64| (presence.stand(&zones, "person", [x, 0.9]), presence.current(&zones).join("+"));
        assert_eq!(walk(0.2), (true, "left".into()));
        assert_eq!(walk(0.3), (false, "left".into()));
        assert_eq!(walk(0.45), (true, "left+middle".into()));
        assert_eq!(walk(0.55), (true, "middle".into()));
        assert_eq!(walk(0.8), (true, String::new()));
        assert_eq!(walk(0.2), (true, "left".into()));
        assert_eq!(presence.entered(), ["left", "middle"]);
    }

    #[test]
    fn inertia_keeps_the_line_quiet() {
        let mut config = config("left", 0.0, 0.5);
        config.inertia = 3;
        let zones = zones_of(&[config]).unwrap();
        let mut presence = Presence::default();
        let walk = |presence: &mut Presence, x: f64| presence.stand(&zones, "person", [x, 0.9]);
        for x in [0.49, 0.51, 0.49, 0.51, 0.49, 0.49] {
            assert!(!walk(&mut presence, x));
        }
        assert!(walk(&mut presence, 0.49), "the third in a row");
        assert!(!walk(&mut presence, 0.51) && !walk(&mut presence, 0.51) && walk(&mut presence, 0.51));
    }

    #[test]
    fn zones_may_be_about_some_labels() {
        let mut config = config("left", 0.0, 0.5);
        config.labels = vec!["car".into()];
        let zones = zones_of(&[config]).unwrap();
        assert!(!Presence::default().stand(&zones, "person", [0.1, 0.1]));
        assert!(Presence::default().stand(&zones, "car", [0.1, 0.1]));
    }

    #[test]
    fn zones_can_change_under_an_object() {
        let before = zones_of(&[config("left", 0.0, 0.5)]).unwrap();
        let after = zones_of(&[config("right", 0.5, 1.0)]).unwrap();
        let mut presence = Presence::default();
        assert!(presence.stand(&before, "person", [0.1, 0.5]));
        assert!(presence.stand(&after, "person", [0.1, 0.5]), "it has left a zone that is no more");
        assert_eq!(presence.current(&after), [""; 0]);
        assert_eq!(presence.entered(), ["left"]);
        assert!(!presence.stand(&[], "person", [0.1, 0.5]), "it was not in the zone that is no more");
    }

    #[test]
    fn a_zone_can_become_about_others() {
        let mut config = config("left", 0.0, 0.5);
        let mut presence = Presence::default();
        assert!(presence.stand(&zones_of(std::slice::from_ref(&config)).unwrap(), "person", [0.1, 0.5]));
        config.labels = vec!["car".into()];
        let zones = zones_of(&[config]).unwrap();
        assert!(presence.stand(&zones, "person", [0.1, 0.5]), "it has left");
        assert_eq!(presence.current(&zones), [""; 0]);
    }

    #[test]
    fn zones_that_make_no_sense_are_refused() {
        let refused = |configs: &[ZoneConfig]| zones_of(configs).unwrap_err();
        assert!(refused(&[config("a", 0.0, 0.5), config("a", 0.0, 0.5)]).contains("two zones"));
        assert!(refused(&[config("", 0.0, 0.5)]).contains("name"));
        assert!(refused(&[config("a", 0.0, 640.0)]).contains("shares"));
        assert!(refused(&(0..33).map(|n| config(&n.to_string(), 0.0, 0.5)).collect::<Vec<_>>()).contains("32"));
    }
}
