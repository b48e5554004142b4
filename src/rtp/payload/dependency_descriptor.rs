//! The dependency descriptor extension (AV1 RTP specification, appendix A).
use crate::ParseError;

/// What one packet's descriptor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// Whether the packet is the first of its frame.
    pub start_of_frame: bool,
    /// Whether the packet is the last of its frame.
    pub end_of_frame: bool,
    /// The frame's template.
    pub template_id: u8,
    /// The frame's number, wrapping.
    pub frame_number: u16,
    /// Whether the packet carries a template structure: it belongs to a keyframe.
    pub has_structure: bool,
    /// The temporal layer, when the template is known.
    pub temporal: Option<u8>,
    /// The spatial layer, when the template is known.
    pub spatial: Option<u8>,
    /// Whether a receiver of lower temporal layers may move up to [`Self::temporal`] here.
    pub layer_sync: bool,
    /// Width and height of the largest layer, when the packet carries them.
    pub size: Option<(u16, u16)>,
}

/// The templates of one source's last structure; at most 64.
#[derive(Clone, Debug, Default)]
pub struct TemplateTable {}

impl TemplateTable {
    /// Makes an empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }

    /// Parses the descriptor of one packet and remembers the structure that it carries.
    ///
    /// # Errors
    ///
    /// When it is cut short.
    pub fn read(&mut self, bytes: &[u8]) -> Result<DependencyDescriptor, ParseError> {
        let _ = bytes;
        Ok(DependencyDescriptor::default())
    }

    /// Returns the temporal layer of a template.
    #[must_use]
    pub fn temporal_layer(&self, template_id: u8) -> Option<u8> {
        let _ = template_id;
        None
    }
}
