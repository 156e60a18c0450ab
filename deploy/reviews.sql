-- Run once, by the PostgreSQL image, when the volume is new: the sample reviews, and a user who may read them and keep
-- scores in a schema of their own.
\getenv password SCORER_PASSWORD
CREATE TABLE film_reviews (id integer PRIMARY KEY, text text, label text, written_at timestamp);
\copy film_reviews FROM '/sample/sample_reviews.csv' WITH (FORMAT csv, HEADER)
CREATE ROLE scorer LOGIN PASSWORD :'password';
GRANT SELECT ON film_reviews TO scorer;
CREATE SCHEMA scoring AUTHORIZATION scorer;
