//! What detection models say, read without OpenCV.
//!
//! | layout | tensors (B pictures, N boxes, C classes) |
//! | --- | --- |
//! | `ssd` | `[1, 1, N, 7]`: picture, class, score, x1, y1, x2, y2; or two tensors: `[B, N, 4]` x1, y1, x2, y2 and `[B, N, C]` scores, class 0 being the background. Shares of the input |
//! | `yolov5` | `[B, N, 5 + C]`: middle x, y, width, height in pixels of the input, score that there is something, score of each class |
//! | `yolov8` | `[B, 4 + C, N]`: the same without the fifth, turned around |
//!
//! `auto` tells them apart by their shapes. A model's numbers are not trusted: what is not finite is passed over.

use serde::Deserialize;

use crate::geometry::Bounds;

/// How a model tells what it has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Told by the shapes.
    #[default]
    Auto,
    /// SSD, and what OpenCV's own detection layer says.
    Ssd,
    /// YOLO up to v7.
    YoloV5,
    /// YOLO since v8.
    YoloV8,
}

/// Numbers of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub dims: Vec<usize>,
    /// As many as the product of `dims`.
    pub values: Vec<f32>,
}

/// One box, in shares of the model's input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub class: usize,
    pub score: f64,
    pub bounds: Bounds,
}

/// Do the tensors tell of that many pictures?
pub(super) fn holds(tensors: &[Tensor], pictures: usize) -> bool {
    tensors.iter().all(|tensor| is_list(tensor) || tensor.dims.len() == 3 && tensor.dims[0] == pictures)
}

/// Puts the tensors of picture `number`, which went through alone, behind those of the pictures before it.
pub(super) fn append(all: &mut Vec<Tensor>, one: Vec<Tensor>, number: usize) {
    if all.is_empty() {
        *all = one;
        return;
    }
    for (all, mut one) in all.iter_mut().zip(one) {
        if is_list(&one) {
            one.values.chunks_exact_mut(7).for_each(|row| row[0] = number as f32);
            all.dims[2] += one.dims[2];
        } else if let Some(pictures) = all.dims.first_mut() {
            *pictures += 1;
        }
        all.values.extend(one.values);
    }
}

/// Reads the boxes of one picture with scores of at least `threshold`.
pub(super) fn read(
    layout: Layout,
    tensors: &[Tensor],
    picture: usize,
    size: [u32; 2],
    threshold: f64,
) -> Result<Vec<Seen>, String> {
    let layout = if layout == Layout::Auto { guess(tensors)? } else { layout };
    let seen = match (layout, tensors) {
        (Layout::Ssd, [list]) if is_list(list) => ssd_list(list, picture),
        (Layout::Ssd, [one, other]) => ssd_pair(one, other, picture),
        (Layout::YoloV5, [tensor, ..]) => matrix(tensor, picture).and_then(|(n, each)| yolov5(n, each, size)),
        (Layout::YoloV8, [tensor, ..]) => matrix(tensor, picture).and_then(|(n, each)| yolov8(n, each, size)),
        _ => None,
    };
    let mut seen = seen.ok_or_else(|| not_understood(tensors))?;
    seen.retain(|seen| {
        let Bounds { x1, y1, x2, y2 } = seen.bounds;
        // Comparisons with what is not a number are false.
        seen.score >= threshold && x1 < x2 && y1 < y2 && [x1, y1, x2, y2].iter().all(|edge| edge.is_finite())
    });
    Ok(seen)
}

/// More boxes in a picture nobody tells of; to compare all of a model's thousands with each other would take seconds.
const MOST: usize = 300;

/// Of boxes of the same class that overlap more than `limit`, the best stays. The best first, at most [`MOST`].
pub(super) fn suppress(mut seen: Vec<Seen>, limit: f64) -> Vec<Seen> {
    seen.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut best: Vec<Seen> = Vec::new();
    for next in seen {
        let is_same = |other: &Seen| other.class == next.class && other.bounds.overlap(&next.bounds) > limit;
        if !best.iter().any(is_same) {
            best.push(next);
        }
        if best.len() == MOST {
            break;
        }
    }
    best
}

fn guess(tensors: &[Tensor]) -> Result<Layout, String> {
    match tensors {
        [list] if is_list(list) => Ok(Layout::Ssd),
        [one, other] if one.dims.last() == Some(&4) || other.dims.last() == Some(&4) => Ok(Layout::Ssd),
        // There are more boxes than classes.
        [tensor, ..] => match tensor.dims[..] {
            [_, rows, columns] if rows > columns && columns > 5 => Ok(Layout::YoloV5),
            [_, rows, columns] if columns > rows && rows > 4 => Ok(Layout::YoloV8),
            _ => Err(not_understood(tensors)),
        },
        [] => Err("the model has no output".into()),
    }
}

fn not_understood(tensors: &[Tensor]) -> String {
    let shapes: Vec<_> = tensors.iter().map(|tensor| format!("{:?}", tensor.dims)).collect();
    format!(
        "the model's output is not understood: shapes {}. Known are SSD ([1, 1, N, 7], or boxes [B, N, 4] and scores \
         [B, N, C]) and YOLO ([B, N, 5 + C] or [B, 4 + C, N]); `output` says which if it cannot be guessed",
        shapes.join(", ")
    )
}

/// `[1, 1, N, 7]`
fn is_list(tensor: &Tensor) -> bool {
    matches!(tensor.dims[..], [1, 1, _, 7])
}

fn ssd_list(list: &Tensor, picture: usize) -> Option<Vec<Seen>> {
    let rows = list.values.chunks_exact(7).filter(|row| row[0] == picture as f32 && row[1] >= 0.0);
    let seen = rows.map(|row| Seen { class: row[1] as usize, score: f64::from(row[2]), bounds: corners(&row[3..7]) });
    Some(seen.collect())
}

fn ssd_pair(one: &Tensor, other: &Tensor, picture: usize) -> Option<Vec<Seen>> {
    // Which of them is which, models do not agree about.
    let (boxes, scores) = if one.dims.last() == Some(&4) { (one, other) } else { (other, one) };
    let ([_, count, 4], [_, scored, classes]) = (&boxes.dims[..], &scores.dims[..]) else { return None };
    if count != scored || *classes < 2 {
        return None;
    }
    let boxes = boxes.values.chunks_exact(count * 4).nth(picture)?;
    let scores = scores.values.chunks_exact(count * classes).nth(picture)?;
    let pairs = boxes.chunks_exact(4).zip(scores.chunks_exact(*classes));
    let seen = pairs.filter_map(|(edges, scores)| {
        let (class, score) = best(scores.iter().copied())?;
        // Mostly there is nothing.
        (class > 0).then(|| Seen { class, score: f64::from(score), bounds: corners(edges) })
    });
    Some(seen.collect())
}

/// The two inner dimensions of a picture's part, and that part.
fn matrix(tensor: &Tensor, picture: usize) -> Option<([usize; 2], &[f32])> {
    let [_, rows, columns] = tensor.dims[..] else { return None };
    let length = rows.checked_mul(columns).filter(|length| *length > 0)?;
    tensor.values.chunks_exact(length).nth(picture).map(|values| ([rows, columns], values))
}

fn yolov5([_, columns]: [usize; 2], values: &[f32], size: [u32; 2]) -> Option<Vec<Seen>> {
    if columns < 6 {
        return None;
    }
    let seen = values.chunks_exact(columns).filter_map(|row| {
        let (class, score) = best(row[5..].iter().copied())?;
        let score = f64::from(row[4]) * f64::from(score);
        Some(Seen { class, score, bounds: around([row[0], row[1], row[2], row[3]], size) })
    });
    Some(seen.collect())
}

fn yolov8([rows, columns]: [usize; 2], values: &[f32], size: [u32; 2]) -> Option<Vec<Seen>> {
    if rows < 5 {
        return None;
    }
    let at = |row: usize, column: usize| values[row * columns + column];
    let seen = (0..columns).filter_map(|n| {
        let (class, score) = best((4..rows).map(|row| at(row, n)))?;
        let bounds = around([at(0, n), at(1, n), at(2, n), at(3, n)], size);
        Some(Seen { class, score: f64::from(score), bounds })
    });
    Some(seen.collect())
}

fn best(scores: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    scores.enumerate().filter(|(_, score)| score.is_finite()).max_by(|a, b| a.1.total_cmp(&b.1))
}

fn corners(edges: &[f32]) -> Bounds {
    let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|n| f64::from(edges[n]));
    Bounds { x1, y1, x2, y2 }
}

/// From middle and size in pixels.
fn around(pixels: [f32; 4], [width, height]: [u32; 2]) -> Bounds {
    let [x, y, w, h] = pixels.map(f64::from);
    let (across, down) = (f64::from(width), f64::from(height));
    Bounds {
        x1: (x - w / 2.0) / across,
        y1: (y - h / 2.0) / down,
        x2: (x + w / 2.0) / across,
        y2: (y + h / 2.0) / down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [u32; 2] = [100, 50];

    fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
        assert_eq!(dims.iter().product::<usize>(), values.len());
        Tensor { dims: dims.to_vec(), values: values.to_vec() }
    }

    fn seen(class: usize, score: f64, edges: [f64; 4]) -> Seen {
        let [x1, y1, x2, y2] = edges;
        Seen { class, score, bounds: Bounds { x1, y1, x2, y2 } }
    }

    #[test]
    fn ssd_lists_tell_which_picture() {
        let list = tensor(
            &[1, 1, 3, 7],
            &[
                0.0, 3.0, 0.75, 0.25, 0.5, 0.5, 1.0, //
                1.0, 2.0, 0.5, 0.0, 0.0, 0.5, 0.5, //
                0.0, 1.0, 0.125, 0.0, 0.0, 0.5, 0.5,
            ],
        );
        let of = |picture| read(Layout::Auto, std::slice::from_ref(&list), picture, SIZE, 0.5).unwrap();
        assert_eq!(of(0), [seen(3, 0.75, [0.25, 0.5, 0.5, 1.0])]);
        assert_eq!(of(1), [seen(2, 0.5, [0.0, 0.0, 0.5, 0.5])]);
        assert_eq!(of(2), []);
    }

    #[test]
    fn ssd_pairs_are_boxes_and_scores_in_either_order() {
        let boxes = tensor(&[2, 2, 4], &[0., 0., 0.5, 0.5, 0., 0., 1., 1., 0.25, 0.25, 0.5, 0.5, 0., 0., 1., 1.]);
        let scores = tensor(&[2, 2, 3], &[0.1, 0.25, 0.75, 0.9, 0.1, 0.0, 0.9, 0.05, 0.05, 0.1, 0.875, 0.0]);
        for pair in [[boxes.clone(), scores.clone()], [scores, boxes]] {
            let of = |picture| read(Layout::Auto, &pair, picture, SIZE, 0.5).unwrap();
            assert_eq!(of(0), [seen(2, 0.75, [0.0, 0.0, 0.5, 0.5])]);
            assert_eq!(of(1), [seen(1, 0.875, [0.0, 0.0, 1.0, 1.0])]);
        }
    }

    /// Eight boxes, the third of which is something.
    fn boxes(columns: usize, third: &[f32]) -> Vec<f32> {
        (0..8).flat_map(|n| if n == 2 { third.to_vec() } else { vec![0.0; columns] }).collect()
    }

    #[test]
    fn yolo_is_told_by_its_shape() {
        let wanted = [seen(1, 0.5, [0.1, 0.2, 0.3, 0.6])];
        let v5 = tensor(&[1, 8, 7], &boxes(7, &[20., 20., 20., 20., 0.625, 0.1, 0.8]));
        let found = read(Layout::Auto, &[v5], 0, SIZE, 0.25).unwrap();
        assert!((found[0].score - 0.5).abs() < 1e-6 && found[0].class == 1);
        assert!(found[0].bounds.overlap(&wanted[0].bounds) > 0.999);

        let rows = boxes(6, &[20., 20., 20., 20., 0.1, 0.5]);
        let turned: Vec<f32> = (0..6).flat_map(|row| rows.iter().skip(row).step_by(6).copied()).collect();
        let v8 = tensor(&[1, 6, 8], &turned);
        let found = read(Layout::Auto, &[v8], 0, SIZE, 0.25).unwrap();
        assert!(found.len() == 1 && found[0].class == 1 && found[0].score == 0.5);
        assert!(found[0].bounds.overlap(&wanted[0].bounds) > 0.999);
    }

    #[test]
    fn batches_have_a_part_per_picture() {
        let values: Vec<f32> =
            [boxes(6, &[20., 20., 20., 20., 1., 1.]), boxes(6, &[80., 25., 20., 20., 1., 1.])].concat();
        let both = tensor(&[2, 8, 6], &values);
        assert!(holds(std::slice::from_ref(&both), 2) && !holds(std::slice::from_ref(&both), 3));
        let x = |picture| {
            read(Layout::YoloV5, std::slice::from_ref(&both), picture, SIZE, 0.5).unwrap()[0].bounds.centre()[0]
        };
        assert!((x(0) - 0.2).abs() < 1e-6 && (x(1) - 0.8).abs() < 1e-6);
        assert!(read(Layout::YoloV5, std::slice::from_ref(&both), 2, SIZE, 0.5).is_err());

        let one_by_one = values.chunks(48).map(|part| vec![tensor(&[1, 8, 6], part)]);
        let mut all = Vec::new();
        one_by_one.enumerate().for_each(|(number, one)| append(&mut all, one, number));
        assert_eq!(all, [both]);
    }

    #[test]
    fn lists_of_pictures_that_went_alone_are_put_together() {
        let row = [0.0, 3.0, 0.75, 0.25, 0.5, 0.5, 1.0];
        let mut all = Vec::new();
        for number in 0..2 {
            append(&mut all, vec![tensor(&[1, 1, 1, 7], &row)], number);
        }
        assert_eq!(all[0].dims, [1, 1, 2, 7]);
        assert_eq!(read(Layout::Ssd, &all, 1, SIZE, 0.5).unwrap().len(), 1);
    }

    #[test]
    fn numbers_that_are_none_are_passed_over() {
        let nan = f32::NAN;
        let rows = [
            [nan, 20., 20., 20., 1., 1.],
            [20., 20., f32::INFINITY, 20., 1., 1.],
            [20., 20., -20., 20., 1., 1.],
            [20., 20., 20., 20., nan, 1.],
            [20., 20., 20., 20., 1., nan],
            [20., 20., 20., 20., 1., 1.],
            [0.; 6],
        ];
        let found = read(Layout::Auto, &[tensor(&[1, 7, 6], rows.as_flattened())], 0, SIZE, 0.5).unwrap();
        assert_eq!(found.len(), 1);
        let list = tensor(&[1, 1, 1, 7], &[0., -1., 1., 0., 0., 1., 1.]);
        assert_eq!(read(Layout::Auto, &[list], 0, SIZE, 0.5).unwrap(), []);
    }

    #[test]
    fn other_shapes_are_told_with_what_is_known() {
        for dims in [&[1, 1000][..], &[1, 4, 4], &[0, 0, 0], &[1, 3, 8, 8]] {
            let unknown = Tensor { dims: dims.to_vec(), values: vec![0.0; dims.iter().product()] };
            let error = read(Layout::Auto, &[unknown], 0, SIZE, 0.5).unwrap_err();
            assert!(error.contains("SSD") && error.contains("YOLO"), "{error}");
        }
        assert!(read(Layout::Auto, &[], 0, SIZE, 0.5).is_err());
        assert!(read(Layout::YoloV8, &[tensor(&[1, 2, 2], &[0.; 4])], 0, SIZE, 0.5).is_err());
    }

    #[test]
    fn a_model_that_sees_something_everywhere_takes_no_time() {
        let box_at = |n: usize| (0.2 + n as f64 * 1e-5, (n % 160) as f64 / 160.0, (n / 160) as f64 / 160.0);
        let everywhere = (0..25_000).map(box_at).map(|(score, x, y)| seen(0, score, [x, y, x + 0.006, y + 0.006]));
        let best = suppress(everywhere.collect(), 0.45);
        assert_eq!(best.len(), MOST);
        assert!(best.windows(2).all(|pair| pair[0].score >= pair[1].score) && best[0].score > 0.44);
    }

    #[test]
    fn best_of_what_overlaps_stays_for_each_class() {
        let crowd = vec![
            seen(0, 0.6, [0.0, 0.0, 0.5, 0.5]),
            seen(0, 0.9, [0.02, 0.0, 0.5, 0.5]),
            seen(1, 0.5, [0.0, 0.0, 0.5, 0.5]),
            seen(0, 0.7, [0.6, 0.6, 0.9, 0.9]),
        ];
        let best: Vec<_> = suppress(crowd, 0.45).into_iter().map(|seen| (seen.class, seen.score)).collect();
        assert_eq!(best, [(0, 0.9), (0, 0.7), (1, 0.5)]);
    }
}
