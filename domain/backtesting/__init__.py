"""Running a changed definition over what a reconciliation has recorded."""
