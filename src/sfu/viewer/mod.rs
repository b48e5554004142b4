//! What one viewer gets of a room, and under which numbers.
