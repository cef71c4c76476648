-- How many training images of each class an actor had, as each run found and left them.
CREATE TABLE distributions (
    library TEXT NOT NULL,
    actor TEXT NOT NULL,
    run TEXT NOT NULL,
    moment TEXT NOT NULL,
    at REAL NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (library, actor, run, moment)
);
