-- Whose a remote job is, so that `callsheet cancel RUN` finds what a stopped run has left under way; NULL before this migration.
ALTER TABLE remote_jobs ADD COLUMN run TEXT;
CREATE INDEX remote_jobs_of_run ON remote_jobs (run);
