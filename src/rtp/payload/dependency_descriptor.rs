//! The dependency descriptor extension (AV1 RTP specification, appendix A).
//!
//! Packet path. A keyframe's packet carries a *structure* of templates; every later packet only names one of
//! them. So a source's temporal layers are known to whoever keeps its last structure: a [`TemplateTable`], a
//! small value of fixed size. A structure replaces the previous one only when the whole descriptor parses.
//!
//! Moving up: a frame of the lowest temporal layer says *switch* for the decode targets that may be entered after
//! it. Its answer holds for a higher layer until a frame of that layer, or of one between, has passed, because a
//! receiver below did not get that one. The table follows this frame by frame.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::arithmetic_side_effects)]

use super::bits::Bits;
use crate::{ParseError, SeqNo};

/// What one packet's descriptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// Whether the packet is the first of its frame.
    pub start_of_frame: bool,
    /// Whether the packet is the last of its frame.
    pub end_of_frame: bool,
    /// The frame's template, 0..=63.
    pub template_id: u8,
    /// The frame's number, wrapping.
    pub frame_number: u16,
    /// Whether the packet carries a structure: it belongs to a keyframe.
    pub has_structure: bool,
    /// The temporal layer, when the template is known.
    pub temporal: Option<u8>,
    /// The spatial layer, when the template is known.
    pub spatial: Option<u8>,
    /// Whether a receiver of the lowest temporal layer alone may move up to [`Self::temporal`] here.
    pub layer_sync: bool,
    /// Width and height of the highest spatial layer, when the packet carries them.
    pub size: Option<(u16, u16)>,
}

/// The templates of one source's last structure; at most 64.
#[derive(Clone, Debug)]
pub struct TemplateTable {
    templates: [Template; TEMPLATES_MAX],
    template_count: u8,
    /// The identifier of the first template.
    first_id: u8,
    /// The highest temporal layer of each decode target.
    target_temporal: [u8; TARGETS_MAX],
    target_count: u8,
    /// Temporal layers, one bit each, whose next frame needs only frames of the lowest layer.
    open_layers: u8,
    /// The newest frame, and whether one may move up with it.
    newest: Option<(SeqNo, bool)>,
}

impl TemplateTable {
    /// Makes an empty table, which knows no template.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            templates: [Template::EMPTY; TEMPLATES_MAX],
            template_count: 0,
            first_id: 0,
            target_temporal: [0; TARGETS_MAX],
            target_count: 0,
            open_layers: 0,
            newest: None,
        }
    }

    /// Parses the descriptor of one packet, and takes over the structure that it carries.
    ///
    /// # Errors
    ///
    /// When the descriptor is cut short, or its structure has more templates or layers than the format allows.
    /// The table is then unchanged.
    pub fn read(&mut self, bytes: &[u8]) -> Result<DependencyDescriptor, ParseError> {
        let malformed = ParseError::Malformed("dependency descriptor");
        let mut bits = Bits::new(bytes);
        let mut descriptor = read_mandatory(&mut bits)
            .ok_or(ParseError::Truncated { expected: MANDATORY_BYTES, came: bytes.len() })?;
        let mut replacement = None;
        let mut custom_indications = false;
        if bytes.len() > MANDATORY_BYTES {
            let has_structure = bits.flag().ok_or(malformed)?;
            let has_active_targets = bits.flag().ok_or(malformed)?;
            custom_indications = bits.flag().ok_or(malformed)?;
            bits.skip(2).ok_or(malformed)?; // custom_fdiffs_flag, custom_chains_flag
            if has_structure {
                let mut structure = Self::new();
                descriptor.size = structure.read_structure(&mut bits).ok_or(malformed)?;
                descriptor.has_structure = true;
                replacement = Some(structure);
            }
            if has_active_targets {
                let targets = replacement.as_ref().unwrap_or(self).target_count;
                bits.skip(u32::from(targets)).ok_or(malformed)?;
            }
        }
        let table = replacement.as_ref().unwrap_or(self);
        let template = table.template(descriptor.template_id);
        let switches = match template {
            Some(_) if custom_indications => table.read_switches(&mut bits).ok_or(malformed)?,
            Some(template) => template.switches,
            None => 0,
        };
        // Nothing fails from here on.
        if let Some(structure) = replacement {
            *self = structure;
        }
        if let Some(template) = template {
            descriptor.temporal = Some(template.temporal);
            descriptor.spatial = Some(template.spatial);
            descriptor.layer_sync = self.follow(SeqNo(descriptor.frame_number), template.temporal, switches);
        }
        Ok(descriptor)
    }

    /// Returns the temporal layer of a template, when the last structure has it.
    #[must_use]
    pub fn temporal_layer(&self, template_id: u8) -> Option<u8> {
        self.template(template_id).map(|template| template.temporal)
    }

    /// Returns the spatial layer of a template, when the last structure has it.
    #[must_use]
    pub fn spatial_layer(&self, template_id: u8) -> Option<u8> {
        self.template(template_id).map(|template| template.spatial)
    }

    fn template(&self, id: u8) -> Option<Template> {
        let index = id.wrapping_sub(self.first_id) & TEMPLATE_ID_MASK;
        if index >= self.template_count {
            return None;
        }
        self.templates.get(usize::from(index)).copied()
    }

    /// Follows the frames and says whether one may move up with this one. Late frames change nothing, and behind
    /// a gap the next frame of the lowest layer has to come first.
    fn follow(&mut self, frame: SeqNo, temporal: u8, switches: u8) -> bool {
        if let Some((newest, may_move_up)) = self.newest {
            match frame.distance(newest) {
                0 => return may_move_up,
                1 => {}
                2.. => self.open_layers = 0,
                _ => return false,
            }
        }
        let layer = 1_u8 << (temporal & TEMPORAL_MAX);
        let may_move_up = self.open_layers & layer != 0;
        self.open_layers = match temporal {
            0 => switches & !layer,
            _ => self.open_layers & layer.wrapping_sub(1),
        };
        self.newest = Some((frame, may_move_up));
        may_move_up
    }

    /// Reads a structure into an empty table; returns the size that it carries.
    fn read_structure(&mut self, bits: &mut Bits<'_>) -> Option<Option<(u16, u16)>> {
        self.first_id = u8::try_from(bits.number(6)?).ok()?;
        self.target_count = u8::try_from(bits.number(5)?).ok()?.checked_add(1)?;
        let highest_spatial = self.read_layers(bits)?;
        self.read_indications(bits)?;
        self.skip_references(bits)?;
        self.skip_chains(bits)?;
        let mut size = None;
        if bits.flag()? {
            for _ in 0..=highest_spatial {
                let width = bits.number(16)?.checked_add(1)?;
                let height = bits.number(16)?.checked_add(1)?;
                size = super::size(width, height);
            }
        }
        Some(size)
    }

    /// Reads the layers of the templates; returns the highest spatial one.
    fn read_layers(&mut self, bits: &mut Bits<'_>) -> Option<u8> {
        let (mut temporal, mut spatial) = (0_u8, 0_u8);
        loop {
            let template = self.templates.get_mut(usize::from(self.template_count))?;
            *template = Template { temporal, spatial, switches: 0 };
            self.template_count = self.template_count.checked_add(1)?;
            match bits.number(2)? {
                NEXT_SAME_LAYER => {}
                NEXT_TEMPORAL => temporal = temporal.checked_add(1).filter(|layer| *layer <= TEMPORAL_MAX)?,
                NEXT_SPATIAL => {
                    temporal = 0;
                    spatial = spatial.checked_add(1).filter(|layer| *layer <= SPATIAL_MAX)?;
                }
                _ => return Some(spatial),
            }
        }
    }

    /// Reads the decode target indications: first the layers of each target, then who may switch to it.
    fn read_indications(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let (templates, target_count) = (usize::from(self.template_count), usize::from(self.target_count));
        let mut again = bits.clone();
        for template in self.templates.iter().take(templates) {
            for target in self.target_temporal.iter_mut().take(target_count) {
                if bits.number(2)? != NOT_PRESENT {
                    *target = template.temporal.max(*target);
                }
            }
        }
        for template in self.templates.iter_mut().take(templates) {
            for target in self.target_temporal.iter().take(target_count) {
                if again.number(2)? == SWITCH {
                    template.switches |= 1 << (target & TEMPORAL_MAX);
                }
            }
        }
        Some(())
    }

    /// Reads a frame's own indications in place of its template's.
    fn read_switches(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let mut switches = 0;
        for target in self.target_temporal.iter().take(usize::from(self.target_count)) {
            if bits.number(2)? == SWITCH {
                switches |= 1 << (target & TEMPORAL_MAX);
            }
        }
        Some(switches)
    }

    fn skip_references(&self, bits: &mut Bits<'_>) -> Option<()> {
        for _ in 0..self.template_count {
            while bits.flag()? {
                bits.skip(4)?; // fdiff_minus_one
            }
        }
        Some(())
    }

    fn skip_chains(&self, bits: &mut Bits<'_>) -> Option<()> {
        let targets = u32::from(self.target_count);
        let chains = bits.non_symmetric(targets.checked_add(1)?)?;
        if chains == 0 {
            return Some(());
        }
        for _ in 0..targets {
            bits.non_symmetric(chains)?; // decode_target_protected_by
        }
        bits.skip(u32::from(self.template_count).checked_mul(chains)?.checked_mul(4)?) // template_chain_fdiff
    }
}

impl Default for TemplateTable {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, Debug)]
struct Template {
    temporal: u8,
    spatial: u8,
    /// The temporal layers, one bit each, of the decode targets that may be entered after its frame.
    switches: u8,
}

impl Template {
    const EMPTY: Self = Self { temporal: 0, spatial: 0, switches: 0 };
}

fn read_mandatory(bits: &mut Bits<'_>) -> Option<DependencyDescriptor> {
    Some(DependencyDescriptor {
        start_of_frame: bits.flag()?,
        end_of_frame: bits.flag()?,
        template_id: u8::try_from(bits.number(6)?).ok()?,
        frame_number: u16::try_from(bits.number(16)?).ok()?,
        ..DependencyDescriptor::default()
    })
}

const MANDATORY_BYTES: usize = 3;
const TEMPLATES_MAX: usize = 64;
const TARGETS_MAX: usize = 32;
const TEMPLATE_ID_MASK: u8 = 0x3f;
const TEMPORAL_MAX: u8 = 7;
const SPATIAL_MAX: u8 = 3;
const NEXT_SAME_LAYER: u32 = 0;
const NEXT_TEMPORAL: u32 = 1;
const NEXT_SPATIAL: u32 = 2;
const NOT_PRESENT: u32 = 0;
const SWITCH: u32 = 2;

#[cfg(test)]
mod tests;
