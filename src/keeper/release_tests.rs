//! What a keeper promises of what an author gives up.
