-- Reviews without a label are not here: they wait for the next run, or were rejected.
select
    reviews.id,
    labels.review_id,
    reviews.body,
    reviews.written_at,
    labels.label,
    labels.score,
    labels.model,
    labels.scored_at
from {{ source("reviews", "reviews") }} as reviews
inner join {{ ref("film_labels") }} as labels
    -- Ids are published as text, whatever type they have in the source.
    on labels.review_id = cast(reviews.id as {{ dbt.type_string() }})
