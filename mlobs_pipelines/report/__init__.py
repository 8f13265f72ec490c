"""What people read: results -> pages and charts, as files and live."""
