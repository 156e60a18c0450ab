-- The labels of one job: several jobs may share the table.
select review_id, label, score, model, revision, scored_at
from {{ source("reviews", "review_labels") }}
where job = '{{ var("job") }}'
