-- The PostgreSQL image runs this once, on a new volume. It creates the sample reviews, and a user who can read them and
-- write scores in the schema `scoring`.
\getenv password SCORER_PASSWORD
CREATE TABLE film_reviews (id integer PRIMARY KEY, text text, label text, written_at timestamp);
\copy film_reviews FROM '/sample/sample_reviews.csv' WITH (FORMAT csv, HEADER)
CREATE ROLE scorer LOGIN PASSWORD :'password';
GRANT SELECT ON film_reviews TO scorer;
CREATE SCHEMA scoring AUTHORIZATION scorer;
