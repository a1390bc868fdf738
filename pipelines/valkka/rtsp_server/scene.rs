//! The demo's scenes: a still background, somebody or something that moves through it, a name and a clock.
//!
//! Drawn by ourselves rather than by test sources and text overlays of GStreamer: it looks like what a camera
//! sees, and needs no further plug-in. Where things are depends on the time of day alone, so that a server that was
//! started again goes on where the killed one stopped.

use std::f32::consts::TAU;

use super::{
    canvas::{Canvas, Colour},
    font,
};

pub const WIDTH: usize = 960;
pub const HEIGHT: usize = 540;
pub const FPS: u32 = 20;

const W: f32 = WIDTH as f32;
const H: f32 = HEIGHT as f32;

/// One camera's view.
#[derive(Debug)]
pub struct Scene {
    kind: Kind,
    /// Seconds by which a second camera on the same kind of scene is off.
    shift: f64,
    background: Canvas,
    canvas: Canvas,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Lobby,
    Gate,
    Yard,
}

impl Scene {
    /// The view of the camera with this number.
    pub fn new(name: &str, number: usize) -> Self {
        let kind = [Kind::Lobby, Kind::Gate, Kind::Yard][number % 3];
        let mut background = Canvas::new(WIDTH, HEIGHT);
        match kind {
            Kind::Lobby => paint_lobby(&mut background),
            Kind::Gate => paint_gate(&mut background),
            Kind::Yard => paint_yard(&mut background),
        }
        background.text(16, 16, 2, name);
        let canvas = background.clone();
        Self { kind, shift: (number / 3) as f64 * 4.7, background, canvas }
    }

    /// The picture at a time in seconds, as `BGRx`; `clock` is written into it.
    pub fn at(&mut self, seconds: f64, clock: &str) -> &[u8] {
        let canvas = &mut self.canvas;
        canvas.copy_from(&self.background);
        let t = seconds + self.shift;
        match self.kind {
            Kind::Lobby => [CLERK, VISITOR].iter().for_each(|somebody| walk(canvas, t, somebody)),
            Kind::Gate => {
                drive(canvas, t, 13.0);
                walk(canvas, t, &PASSER_BY);
            }
            Kind::Yard => {
                walk(canvas, t, &BURGLAR);
                prowl(canvas, t, 9.0);
            }
        }
        // Small enough that a change of the minute is not a thing that moves.
        let width = (clock.len() * (font::WIDTH + 1) + 3) * 2;
        canvas.text(WIDTH.saturating_sub(16 + width), 16, 2, clock);
        canvas.pixels()
    }
}

// Those who move. Each crosses the picture once per period.

struct Walk {
    period: f64,
    ground: f32,
    height: f32,
    right: bool,
    coat: Colour,
    /// Unlike the ground that they walk on, or an analyser sees half of them.
    trousers: Colour,
}

#[rustfmt::skip]
const CLERK: Walk = Walk {
    period: 17.0, ground: 452.0, height: 190.0, right: false, coat: Colour(52, 92, 140), trousers: Colour(28, 36, 56),
};
#[rustfmt::skip]
const VISITOR: Walk = Walk {
    period: 11.0, ground: 505.0, height: 235.0, right: true, coat: Colour(176, 62, 54), trousers: Colour(36, 38, 48),
};
#[rustfmt::skip]
const PASSER_BY: Walk = Walk {
    period: 19.0, ground: 502.0, height: 150.0, right: false, coat: Colour(214, 196, 160), trousers: Colour(70, 104, 176),
};
/// In grey: by infrared light there are no colours.
#[rustfmt::skip]
const BURGLAR: Walk = Walk {
    period: 15.0, ground: 470.0, height: 170.0, right: true, coat: Colour(205, 205, 205), trousers: Colour(14, 14, 14),
};

/// Where somebody is who needs `period` seconds from beyond one edge to beyond the other.
fn crossing(t: f64, period: f64, margin: f32, right: bool) -> f32 {
    let part = (t / period).rem_euclid(1.0) as f32;
    let x = -margin + part * (W + 2.0 * margin);
    if right { x } else { W - x }
}

fn walk(canvas: &mut Canvas, t: f64, walk: &Walk) {
    let Walk { period, ground, height, right, coat, trousers } = *walk;
    let x = crossing(t, period, 80.0, right);
    let size = height / 100.0;
    // A step is as long as legs are, whatever the speed.
    let phase = x / (height * 0.42) * TAU / 2.0;
    let facing = if right { 1.0 } else { -1.0 };
    let bob = (phase * 2.0).cos().abs() * 1.5 * size;
    let hip = (x, ground - 46.0 * size - bob);
    let neck = (x + 2.0 * size * facing, ground - 80.0 * size - bob);
    let hair = coat.towards(Colour(24, 26, 32), 0.75);
    let skin = Colour(222, 178, 148).towards(coat.grey(), if coat.0 == coat.1 { 1.0 } else { 0.0 });
    canvas.shadow(x, ground + 2.0 * size, (26.0 * size, 6.0 * size), 0.6);
    for (side, shade) in [(-1.0, 0.25), (1.0, 0.0)] {
        let swing = (phase.sin() * side, (phase + 0.6).sin() * side);
        let colour = trousers.towards(Colour(0, 0, 0), shade);
        let knee = (hip.0 + swing.0 * 10.0 * size + 2.0 * size * facing, ground - 24.0 * size);
        let foot = (hip.0 + swing.1 * 19.0 * size, ground - (phase.cos() * side * facing).max(0.0) * 6.0 * size);
        canvas.line(hip, knee, 11.0 * size, colour);
        canvas.line(knee, foot, 8.5 * size, colour);
        canvas.line(foot, (foot.0 + 6.0 * size * facing, foot.1), 5.0 * size, Colour(20, 20, 24));
    }
    let arm = |canvas: &mut Canvas, side: f32, shade: f32| {
        let hand = (neck.0 - phase.sin() * side * 14.0 * size, hip.1 - 2.0 * size);
        canvas.line((neck.0, neck.1 + 5.0 * size), hand, 7.0 * size, coat.towards(Colour(0, 0, 0), shade));
        canvas.disc(hand.0, hand.1 + 2.0 * size, 3.6 * size, skin);
    };
    arm(canvas, -1.0, 0.35);
    canvas.line((neck.0, neck.1 + 6.0 * size), (hip.0, hip.1 - 2.0 * size), 21.0 * size, coat);
    arm(canvas, 1.0, 0.18);
    canvas.disc(neck.0 + 1.5 * size * facing, neck.1 - 11.0 * size, 8.8 * size, skin);
    canvas.disc(neck.0 - 0.5 * size * facing, neck.1 - 14.0 * size, 8.2 * size, hair);
}

fn drive(canvas: &mut Canvas, t: f64, period: f64) {
    let x = crossing(t, period, 240.0, true);
    let y = 424.0;
    let (paint, glass) = (Colour(196, 58, 48), Colour(46, 60, 78));
    canvas.shadow(x, y + 34.0, (150.0, 16.0), 0.7);
    canvas.glow(x + 220.0, y + 18.0, (150.0, 34.0), Colour(255, 236, 180), 0.5);
    canvas.block((x - 64.0, y - 58.0, x + 54.0, y + 4.0), 26.0, paint.towards(Colour(0, 0, 0), 0.2));
    canvas.block((x - 52.0, y - 48.0, x - 4.0, y - 12.0), 12.0, glass);
    canvas.block((x + 4.0, y - 48.0, x + 44.0, y - 12.0), 12.0, glass);
    canvas.block((x - 112.0, y - 18.0, x + 114.0, y + 26.0), 18.0, paint);
    canvas.block((x - 112.0, y + 8.0, x + 114.0, y + 26.0), 9.0, paint.towards(Colour(0, 0, 0), 0.35));
    for wheel in [x - 66.0, x + 68.0] {
        canvas.disc(wheel, y + 24.0, 22.0, Colour(18, 18, 22));
        canvas.disc(wheel, y + 24.0, 11.0, Colour(150, 154, 160));
    }
    canvas.disc(x + 106.0, y + 2.0, 8.0, Colour(255, 246, 210));
    canvas.disc(x - 108.0, y + 2.0, 6.0, Colour(255, 90, 70));
}

/// A cat.
fn prowl(canvas: &mut Canvas, t: f64, period: f64) {
    let x = crossing(t, period, 90.0, false);
    let y = 490.0;
    let fur = Colour(232, 232, 232);
    let phase = x / 16.0;
    canvas.shadow(x, y + 30.0, (60.0, 9.0), 0.6);
    for (leg, offset) in [(-26.0, 0.0), (-18.0, 2.4), (20.0, 1.2), (28.0, 3.6)] {
        let swing = (phase + offset).sin() * 9.0;
        canvas.line((x + leg, y + 4.0), (x + leg + swing, y + 29.0), 7.0, fur.towards(Colour(0, 0, 0), 0.18));
    }
    canvas.line((x - 26.0, y), (x + 28.0, y - 1.0), 25.0, fur);
    canvas.line((x + 36.0, y - 4.0), (x + 58.0, y - 30.0 + (phase * 0.4).sin() * 7.0), 6.0, fur);
    canvas.disc(x - 42.0, y - 14.0, 14.0, fur);
    canvas.line((x - 50.0, y - 24.0), (x - 52.0, y - 32.0), 6.0, fur);
    canvas.line((x - 37.0, y - 26.0), (x - 36.0, y - 33.0), 6.0, fur);
    canvas.disc(x - 47.0, y - 15.0, 2.4, Colour(20, 20, 20));
}

// What stands still.

fn paint_lobby(canvas: &mut Canvas) {
    canvas.gradient((0.0, 0.0, W, 380.0), Colour(214, 206, 190), Colour(184, 172, 154));
    canvas.gradient((0.0, 380.0, W, H), Colour(132, 100, 72), Colour(92, 66, 46));
    for window in [90.0, 290.0, 490.0] {
        canvas.block((window - 8.0, 62.0, window + 168.0, 318.0), 4.0, Colour(92, 82, 70));
        canvas.gradient((window, 70.0, window + 160.0, 310.0), Colour(118, 172, 220), Colour(206, 228, 240));
        canvas.below((window, window + 160.0), 310.0, Colour(104, 142, 98), |x| 262.0 + (x / 46.0).sin() * 14.0);
        canvas.block((window + 77.0, 70.0, window + 83.0, 310.0), 0.0, Colour(92, 82, 70));
        canvas.glow(window + 80.0, 440.0, (130.0, 46.0), Colour(255, 236, 200), 0.35);
    }
    canvas.block((716.0, 110.0, 876.0, 380.0), 4.0, Colour(86, 60, 44));
    canvas.block((728.0, 122.0, 864.0, 380.0), 3.0, Colour(124, 88, 62));
    canvas.block((742.0, 140.0, 850.0, 236.0), 3.0, Colour(104, 72, 50));
    canvas.block((742.0, 252.0, 850.0, 366.0), 3.0, Colour(104, 72, 50));
    canvas.disc(846.0, 262.0, 6.0, Colour(220, 190, 110));
    canvas.block((0.0, 372.0, W, 384.0), 0.0, Colour(96, 76, 60));
    for plank in 1..5 {
        let y = 384.0 + (plank * plank) as f32 * 9.0;
        canvas.block((0.0, y, W, y + 1.5), 0.0, Colour(84, 60, 42));
    }
    for (dx, dy) in [(-34.0, -96.0), (30.0, -104.0), (-14.0, -130.0), (14.0, -122.0), (-46.0, -58.0), (44.0, -64.0)] {
        canvas.line((926.0, 352.0), (926.0 + dx, 352.0 + dy), 13.0, Colour(62, 112, 70));
    }
    canvas.block((896.0, 340.0, 956.0, 410.0), 8.0, Colour(226, 220, 210));
    canvas.shadow(40.0, 404.0, (90.0, 12.0), 0.5);
    canvas.block((-30.0, 300.0, 74.0, 400.0), 16.0, Colour(64, 88, 96));
    canvas.block((-30.0, 346.0, 88.0, 402.0), 12.0, Colour(76, 104, 112));
}

fn paint_gate(canvas: &mut Canvas) {
    canvas.gradient((0.0, 0.0, W, 200.0), Colour(34, 44, 86), Colour(140, 92, 120));
    canvas.gradient((0.0, 200.0, W, 330.0), Colour(140, 92, 120), Colour(246, 170, 104));
    canvas.glow(700.0, 300.0, (280.0, 150.0), Colour(255, 214, 140), 0.7);
    canvas.disc(700.0, 292.0, 26.0, Colour(255, 228, 170));
    canvas.below((0.0, W), 400.0, Colour(86, 66, 96), |x| 276.0 + (x / 150.0).sin() * 26.0 + (x / 61.0).cos() * 9.0);
    canvas.below((0.0, W), 400.0, Colour(52, 46, 66), |x| 318.0 + (x / 110.0 + 2.0).sin() * 16.0);
    canvas.gradient((0.0, 348.0, W, 396.0), Colour(44, 48, 50), Colour(54, 58, 54));
    canvas.gradient((0.0, 392.0, W, H), Colour(58, 60, 68), Colour(76, 78, 86));
    for dash in 0..9 {
        let x = dash as f32 * 120.0 + 20.0;
        canvas.block((x, 470.0, x + 62.0, 475.0), 2.0, Colour(196, 190, 170));
    }
    canvas.block((0.0, 388.0, W, 394.0), 0.0, Colour(104, 100, 104));
    for post in 0..23 {
        let x = post as f32 * 42.0 + 6.0;
        canvas.block((x, 300.0, x + 5.0, 388.0), 2.0, Colour(30, 28, 38));
    }
    for rail in [312.0, 366.0] {
        canvas.block((0.0, rail, W, rail + 5.0), 0.0, Colour(30, 28, 38));
    }
    for pillar in [250.0, 452.0] {
        canvas.block((pillar, 258.0, pillar + 40.0, 392.0), 3.0, Colour(112, 88, 84));
        canvas.block((pillar - 6.0, 250.0, pillar + 46.0, 264.0), 3.0, Colour(136, 110, 102));
        canvas.glow(pillar + 20.0, 238.0, (64.0, 52.0), Colour(255, 220, 140), 0.75);
        canvas.disc(pillar + 20.0, 238.0, 10.0, Colour(255, 244, 206));
    }
}

/// By infrared light, at night.
fn paint_yard(canvas: &mut Canvas) {
    let grey = |luma: u8| Colour(luma, luma, luma);
    canvas.gradient((0.0, 0.0, W, 330.0), grey(22), grey(50));
    for star in 0..36_u32 {
        let (x, y) = ((star * 271 % 953) as f32, (star * 97 % 190) as f32);
        canvas.disc(x, y, 1.2, grey(120 + (star * 37 % 90) as u8));
    }
    canvas.below((0.0, W), 340.0, grey(38), |x| 262.0 + (x / 34.0).sin() * 12.0 + (x / 13.0).sin() * 6.0);
    canvas.gradient((0.0, 330.0, W, H), grey(62), grey(104));
    canvas.glow(480.0, 470.0, (560.0, 170.0), grey(160), 0.5);
    canvas.block((560.0, 150.0, 900.0, 392.0), 0.0, grey(104));
    canvas.below((530.0, 930.0), 160.0, grey(64), |x| 60.0 + (x - 730.0).abs() * 0.5);
    for board in 0..12 {
        let y = 160.0 + board as f32 * 20.0;
        canvas.block((560.0, y, 900.0, y + 1.6), 0.0, grey(86));
    }
    for window in [596.0, 806.0] {
        canvas.block((window - 5.0, 205.0, window + 69.0, 293.0), 2.0, grey(150));
        canvas.gradient((window, 210.0, window + 64.0, 288.0), grey(196), grey(226));
        canvas.block((window + 30.0, 210.0, window + 34.0, 288.0), 0.0, grey(140));
        canvas.block((window, 247.0, window + 64.0, 251.0), 0.0, grey(140));
    }
    canvas.block((696.0, 240.0, 776.0, 392.0), 2.0, grey(56));
    canvas.disc(766.0, 322.0, 4.0, grey(190));
    canvas.shadow(730.0, 398.0, (220.0, 16.0), 0.5);
    canvas.block((196.0, 250.0, 222.0, 410.0), 6.0, grey(48));
    canvas.shadow(210.0, 412.0, (110.0, 14.0), 0.5);
    for (dx, dy, r) in
        [(0.0, 0.0, 82.0), (-66.0, 34.0, 56.0), (68.0, 30.0, 58.0), (-26.0, -48.0, 52.0), (38.0, -44.0, 50.0)]
    {
        canvas.disc(208.0 + dx, 196.0 + dy, r, grey(70));
    }
    for (dx, dy, r) in [(-14.0, -22.0, 48.0), (46.0, 6.0, 36.0), (-58.0, 20.0, 32.0)] {
        canvas.disc(208.0 + dx, 196.0 + dy, r, grey(82));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_moves_on_a_still_background() {
        for number in 0..4 {
            let mut scene = Scene::new("lobby", number);
            let before = scene.at(1000.0, "12:00").to_vec();
            let after = scene.at(1000.2, "12:00").to_vec();
            let changed = before.chunks(4).zip(after.chunks(4)).filter(|(a, b)| a != b).count();
            assert!((500..WIDTH * HEIGHT / 5).contains(&changed), "scene {number}: {changed} pixels have changed");
        }
    }

    #[test]
    fn the_clock_is_part_of_the_picture() {
        let mut scene = Scene::new("gate", 1);
        let before = scene.at(1000.0, "12:00:00").to_vec();
        assert_ne!(before, scene.at(1000.0, "12:00:01"));
    }

    #[test]
    fn the_same_time_is_the_same_picture() {
        let (mut one, mut other) = (Scene::new("yard", 2), Scene::new("yard", 2));
        assert_eq!(one.at(5.0, ""), other.at(5.0, ""));
    }
}
