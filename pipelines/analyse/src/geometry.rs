//! Boxes and polygons in shares of the picture: 0..1 from left to right and from top to bottom, whatever its size.

/// A box: left, top, right, bottom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Left.
    pub x1: f64,
    /// Top.
    pub y1: f64,
    /// Right.
    pub x2: f64,
    /// Bottom.
    pub y2: f64,
}

impl Bounds {
    /// The part of a box that is in the picture.
    pub fn clamped(x1: f64, y1: f64, x2: f64, y2: f64) -> Self {
        let inside = |edge: f64| edge.clamp(0.0, 1.0);
        Self { x1: inside(x1), y1: inside(y1), x2: inside(x2), y2: inside(y2) }
    }

    /// Share of the picture's area.
    pub fn area(&self) -> f64 {
        (self.x2 - self.x1).max(0.0) * (self.y2 - self.y1).max(0.0)
    }

    /// Shared area over united area, 0..1.
    pub fn overlap(&self, other: &Self) -> f64 {
        let shared = Self {
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
            x2: self.x2.min(other.x2),
            y2: self.y2.min(other.y2),
        }
        .area();
        let united = self.area() + other.area() - shared;
        if united > 0.0 { shared / united } else { 0.0 }
    }

    /// The middle.
    pub fn centre(&self) -> [f64; 2] {
        [(self.x1 + self.x2) / 2.0, (self.y1 + self.y2) / 2.0]
    }

    /// Where it stands: the middle of its lower edge.
    pub fn foot(&self) -> [f64; 2] {
        [(self.x1 + self.x2) / 2.0, self.y2]
    }

    /// The same box somewhere else.
    pub fn moved(&self, [right, down]: [f64; 2]) -> Self {
        Self { x1: self.x1 + right, y1: self.y1 + down, x2: self.x2 + right, y2: self.y2 + down }
    }
}

/// A closed line around a part of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon(Vec<[f64; 2]>);

/// Why points are no polygon.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolygonError {
    /// Too few, or more than anybody draws.
    #[error("a polygon has 3 to {MAX_POINTS} points [x, y], not {0}")]
    Points(usize),
    /// Pixels, perhaps.
    #[error("a polygon's points are shares of width and height, from 0 to 1")]
    Outside,
}

/// Corners of a polygon.
const MAX_POINTS: usize = 64;

impl TryFrom<Vec<[f64; 2]>> for Polygon {
    type Error = PolygonError;

    fn try_from(points: Vec<[f64; 2]>) -> Result<Self, PolygonError> {
        if !(3..=MAX_POINTS).contains(&points.len()) {
            return Err(PolygonError::Points(points.len()));
        }
        let inside = |share: &f64| (0.0..=1.0).contains(share);
        if points.iter().flatten().all(inside) { Ok(Self(points)) } else { Err(PolygonError::Outside) }
    }
}

impl Polygon {
    /// Its corners.
    pub fn points(&self) -> &[[f64; 2]] {
        &self.0
    }

    /// Is the point inside? Counts how many edges a line from the point to the right crosses (even-odd rule).
    ///
    /// Who is cut off by the picture's right or lower edge stands on that edge, and so in a polygon that reaches to it.
    pub fn contains(&self, point: [f64; 2]) -> bool {
        // By that rule a polygon's own right and lower edges are outside of it.
        let [x, y] = point.map(|share| share.min(1.0 - f64::EPSILON));
        let next = self.0.iter().cycle().skip(1);
        let crossed = self.0.iter().zip(next).filter(|(a, b)| {
            let ([ax, ay], [bx, by]) = (**a, **b);
            (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax)
        });
        crossed.count() % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(x1: f64, y1: f64, x2: f64, y2: f64) -> Bounds {
        Bounds { x1, y1, x2, y2 }
    }

    #[test]
    fn overlap_is_shared_over_united_area() {
        let a = bounds(0.0, 0.0, 0.2, 0.2);
        assert_eq!(a.overlap(&a), 1.0);
        assert!((a.overlap(&bounds(0.1, 0.0, 0.3, 0.2)) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(a.overlap(&bounds(0.5, 0.5, 0.6, 0.6)), 0.0);
        assert_eq!(
            bounds(0.1, 0.1, 0.1, 0.1).overlap(&bounds(0.1, 0.1, 0.1, 0.1)),
            0.0,
            "nothing overlaps with nothing"
        );
    }

    #[test]
    fn polygons_need_not_be_convex() {
        // A U: its opening at the top is outside.
        let u = [[0.1, 0.1], [0.3, 0.1], [0.3, 0.7], [0.7, 0.7], [0.7, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]];
        let u = Polygon::try_from(u.to_vec()).unwrap();
        for inside in [[0.2, 0.5], [0.8, 0.5], [0.5, 0.8]] {
            assert!(u.contains(inside), "{inside:?}");
        }
        for outside in [[0.5, 0.5], [0.05, 0.5], [0.5, 0.95], [0.5, 0.05]] {
            assert!(!u.contains(outside), "{outside:?}");
        }
    }

    #[test]
    fn the_edges_of_the_picture_are_part_of_it() {
        let all = Polygon::try_from(vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).unwrap();
        for corner in [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 1.0], [1.0, 0.5]] {
            assert!(all.contains(corner), "{corner:?}");
        }
        let above = Polygon::try_from(vec![[0.0, 0.0], [1.0, 0.0], [1.0, 0.9], [0.0, 0.9]]).unwrap();
        assert!(!above.contains([0.5, 1.0]));
    }

    #[test]
    fn points_that_are_no_polygon_are_refused() {
        assert_eq!(Polygon::try_from(vec![[0.0, 0.0], [1.0, 1.0]]), Err(PolygonError::Points(2)));
        assert_eq!(Polygon::try_from(vec![[0.5; 2]; 65]), Err(PolygonError::Points(65)));
        assert_eq!(Polygon::try_from(vec![[0.0, 0.0], [320.0, 0.0], [0.0, 1.0]]), Err(PolygonError::Outside));
        assert_eq!(Polygon::try_from(vec![[0.0, f64::NAN], [1.0, 0.0], [0.0, 1.0]]), Err(PolygonError::Outside));
    }
}
