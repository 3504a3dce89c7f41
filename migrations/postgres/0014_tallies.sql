-- The Postgres twin of the file of the same name in migrations/sqlite: change both or neither.

-- Counted votes for each pair of contestants of a question, kept in the vote's own transaction: ratings and the draw of a
-- matchup do not read all votes. contestant_a < contestant_b; an id is a contestant's or, without adapters, the model's.
CREATE TABLE pair_votes (
    question TEXT NOT NULL,
    contestant_a UUID NOT NULL,
    contestant_b UUID NOT NULL,
    wins_a BIGINT NOT NULL,
    wins_b BIGINT NOT NULL,
    ties BIGINT NOT NULL,
    both_bad BIGINT NOT NULL,
    CONSTRAINT pair_votes_one_per_question_and_pair PRIMARY KEY (question, contestant_a, contestant_b),
    CONSTRAINT pair_votes_ordered CHECK (contestant_a < contestant_b)
);
INSERT INTO pair_votes (question, contestant_a, contestant_b, wins_a, wins_b, ties, both_bad)
    SELECT question, a, b, COUNT(CASE WHEN winner = a THEN 1 END), COUNT(CASE WHEN winner = b THEN 1 END),
        COUNT(CASE WHEN choice = 'tie' THEN 1 END), COUNT(CASE WHEN choice = 'both_bad' THEN 1 END)
    FROM (SELECT question, choice, CASE WHEN l < r THEN l ELSE r END AS a, CASE WHEN l < r THEN r ELSE l END AS b,
              CASE choice WHEN 'left' THEN l WHEN 'right' THEN r END AS winner
          FROM (SELECT m.question, v.choice, COALESCE(li.contestant_id, li.model_id) AS l,
                    COALESCE(ri.contestant_id, ri.model_id) AS r
                FROM votes v JOIN matchups m ON m.id = v.matchup_id
                JOIN images li ON li.id = m.left_image JOIN images ri ON ri.id = m.right_image) AS judged
          WHERE l <> r) AS ordered
    GROUP BY question, a, b;

-- Sums of the scores of a model's evaluation images, kept in the transaction that stores the scores.
CREATE TABLE model_score_sums (
    model_id UUID NOT NULL REFERENCES models (id),
    metric TEXT NOT NULL,
    count BIGINT NOT NULL,
    total DOUBLE PRECISION NOT NULL,
    total_squares DOUBLE PRECISION NOT NULL,
    CONSTRAINT model_score_sums_one_per_model_and_metric PRIMARY KEY (model_id, metric)
);
INSERT INTO model_score_sums (model_id, metric, count, total, total_squares)
    SELECT i.model_id, s.metric, COUNT(*), SUM(s.value), SUM(s.value * s.value)
    FROM images i JOIN image_scores s ON s.image_id = i.id
    WHERE i.purpose = 'evaluation' GROUP BY i.model_id, s.metric;
