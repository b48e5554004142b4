#![expect(clippy::arithmetic_side_effects, reason = "a test may end its process")]

use super::*;

#[test]
fn a_structure_names_the_layers_of_its_templates() {
    let mut table = TemplateTable::new();

    let descriptor = table.read(&three_temporal_layers()).unwrap();

    let expected = DependencyDescriptor {
        start_of_frame: true,
        end_of_frame: true,
        template_id: 10,
        frame_number: 0x0102,
        has_structure: true,
        temporal: Some(0),
        spatial: Some(0),
        layer_sync: false,
        size: Some((640, 360)),
    };
    assert_eq!(descriptor, expected);
    let layers: Vec<_> = (9..15).map(|template| table.temporal_layer(template)).collect();
    assert_eq!(layers, [None, Some(0), Some(1), Some(2), Some(2), None]);
    assert_eq!(table.spatial_layer(13), Some(0));
}

#[test]
fn later_packets_name_a_template_of_the_structure() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();

    let descriptor = table.read(&mandatory(13, 0x0103)).unwrap();

    assert_eq!((descriptor.temporal, descriptor.spatial), (Some(2), Some(0)));
    assert_eq!((descriptor.frame_number, descriptor.start_of_frame), (0x0103, true));
    assert!(!descriptor.has_structure);
}

#[test]
fn one_may_move_up_with_frames_that_need_only_the_lowest_layer() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();

    // T2, T1, T2 and again: the second T2 needs the T1, which a receiver of T0 alone did not get.
    for (template, frame, may_move_up) in
        [(12, 3, true), (11, 4, true), (13, 5, false), (10, 6, false), (12, 7, true), (11, 8, true)]
    {
        let frame = 0x0100 + frame;

        assert_eq!(
            table.read(&mandatory(template, frame)).unwrap().layer_sync,
            may_move_up,
            "frame {frame:#x}"
        );
    }
}

#[test]
fn every_packet_of_a_frame_says_the_same_of_moving_up() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();

    assert!(table.read(&mandatory(12, 0x0103)).unwrap().layer_sync);
    assert!(table.read(&mandatory(12, 0x0103)).unwrap().layer_sync);
}

#[test]
fn one_may_not_move_up_behind_a_gap_nor_with_a_late_frame() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();

    assert!(!table.read(&mandatory(12, 0x0105)).unwrap().layer_sync, "two frames are missing");
    assert!(!table.read(&mandatory(11, 0x0104)).unwrap().layer_sync, "late");
    assert!(!table.read(&mandatory(10, 0x0106)).unwrap().layer_sync, "the lowest layer");
    assert!(table.read(&mandatory(12, 0x0107)).unwrap().layer_sync, "the lowest layer came");
}

#[test]
fn identifiers_count_on_across_64() {
    let mut table = TemplateTable::new();
    let mut bits = Written::default();
    bits.header(63, 0b10000).put(63, 6).put(0, 5);
    bits.put(1, 2).put(3, 2); // temporal layers 0 and 1
    bits.put(2, 2).put(2, 2); // both switch
    bits.put(0, 1).put(0, 1); // no references
    bits.put(0, 1); // no chains: one of two values
    bits.put(0, 1); // no sizes

    table.read(&bits.bytes()).unwrap();

    assert_eq!((table.temporal_layer(63), table.temporal_layer(0)), (Some(0), Some(1)));
    assert_eq!((table.temporal_layer(1), table.temporal_layer(62)), (None, None));
}

#[test]
fn spatial_layers_begin_again_at_the_lowest_temporal_one() {
    let mut table = TemplateTable::new();
    let mut bits = Written::default();
    bits.header(0, 0b10000).put(0, 6).put(0, 5);
    bits.put(1, 2).put(2, 2).put(1, 2).put(3, 2); // S0T0 S0T1 S1T0 S1T1
    bits.put(0, 8).put(0, 4).put(0, 1); // indications, references, chains
    bits.put(1, 1).put(319, 16).put(179, 16).put(639, 16).put(359, 16);

    let descriptor = table.read(&bits.bytes()).unwrap();

    let layers: Vec<_> =
        (0..4).map(|id| (table.spatial_layer(id).unwrap(), table.temporal_layer(id).unwrap())).collect();
    assert_eq!(layers, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(descriptor.size, Some((640, 360)), "of the highest spatial layer");
}

#[test]
fn a_frame_may_bring_its_own_indications() {
    for (indications, may_move_up) in [(0b10_10_00, true), (0b10_11_10, false)] {
        let mut table = TemplateTable::new();
        table.read(&three_temporal_layers()).unwrap();
        let mut lowest = Written::default();
        lowest.start(10, 0x0103).put(0b00100, 5).put(indications, 6);

        table.read(&lowest.bytes()).unwrap();

        assert_eq!(table.read(&mandatory(11, 0x0104)).unwrap().layer_sync, may_move_up, "{indications:b}");
    }
}

#[test]
fn active_targets_stand_before_the_indications() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();
    let mut lowest = Written::default();
    lowest.start(10, 0x0103).put(0b01100, 5).put(0b101, 3).put(0b10_10_00, 6);

    table.read(&lowest.bytes()).unwrap();

    assert!(table.read(&mandatory(11, 0x0104)).unwrap().layer_sync);
}

#[test]
fn without_a_structure_no_layer_is_known() {
    let descriptor = TemplateTable::new().read(&mandatory(0, 7)).unwrap();

    assert_eq!((descriptor.temporal, descriptor.spatial, descriptor.frame_number), (None, None, 7));
}

#[test]
fn a_structure_that_is_cut_leaves_the_previous_one() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();
    let mut other = Written::default();
    other.header(0, 0b10000).put(0, 6).put(31, 5).put(3, 2);

    let refused = table.read(&other.bytes());

    assert!(matches!(refused, Err(ParseError::Malformed(_))));
    assert_eq!(table.temporal_layer(13), Some(2));
}

#[test]
fn a_structure_in_front_of_a_cut_leaves_the_previous_one() {
    let mut table = TemplateTable::new();
    table.read(&three_temporal_layers()).unwrap();
    let mut other = Written::default();
    other.header(0, 0b11000).put(0, 6).put(31, 5).put(3, 2); // one template, 32 targets, active ones announced
    other.put(0, 32).put(0, 32).put(0, 1); // indications, references
    other.put(0, 5).put(0, 1); // no chains, no sizes

    let refused = table.read(&other.bytes());

    assert!(matches!(refused, Err(ParseError::Malformed(_))));
    assert_eq!((table.temporal_layer(0), table.temporal_layer(13)), (None, Some(2)));
}

#[test]
fn too_many_templates_or_layers_are_refused() {
    for (next, count) in [(NEXT_SAME_LAYER, 70), (NEXT_TEMPORAL, 8), (NEXT_SPATIAL, 4)] {
        let mut bits = Written::default();
        bits.header(0, 0b10000).put(0, 6).put(0, 5);
        for _ in 0..count {
            bits.put(next, 2);
        }
        bits.put(3, 2).put(0, 32).put(0, 32).put(0, 32);

        let refused = TemplateTable::new().read(&bits.bytes());

        assert!(matches!(refused, Err(ParseError::Malformed(_))), "{count} times {next}");
    }
}

#[test]
fn less_than_three_bytes_are_refused() {
    for length in 0..3 {
        let refused = TemplateTable::new().read(&mandatory(1, 7)[..length]);

        assert_eq!(refused, Err(ParseError::Truncated { expected: 3, came: length }));
    }
}

/// A keyframe's descriptor: templates 10..=13 of layers T0, T1, T2, T2, as WebRTC's encoders use them.
fn three_temporal_layers() -> Vec<u8> {
    let mut bits = Written::default();
    bits.start(10, 0x0102).put(0b10000, 5).put(10, 6).put(2, 5);
    bits.put(1, 2).put(1, 2).put(0, 2).put(3, 2);
    for indications in [0b10_10_10, 0b00_01_10, 0b00_00_01, 0b00_00_01] {
        bits.put(indications, 6);
    }
    for difference in [4, 2, 1, 1] {
        bits.put(1, 1).put(difference - 1, 4).put(0, 1);
    }
    bits.put(1, 2); // one chain, of at most three; it protects every target
    for difference in [4, 2, 1, 3] {
        bits.put(difference, 4);
    }
    bits.put(1, 1).put(639, 16).put(359, 16);
    bits.bytes()
}

fn mandatory(template: u32, frame: u32) -> Vec<u8> {
    let mut bits = Written::default();
    bits.start(template, frame);
    bits.bytes()
}

#[derive(Default)]
struct Written {
    bits: Vec<bool>,
}

impl Written {
    /// The mandatory fields of frame 7 and the five flags behind them.
    fn header(&mut self, template: u32, flags: u32) -> &mut Self {
        self.start(template, 7).put(flags, 5)
    }

    fn start(&mut self, template: u32, frame: u32) -> &mut Self {
        self.put(3, 2).put(template, 6).put(frame, 16)
    }

    fn put(&mut self, value: u32, width: u32) -> &mut Self {
        self.bits.extend((0..width).rev().map(|place| (value >> place) & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter().fold(0_u8, |value, &bit| (value << 1) | u8::from(bit)) << (8 - bits.len())
        };
        self.bits.chunks(8).map(byte).collect()
    }
}
