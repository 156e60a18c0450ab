select
    {{ dbt.date_trunc("month", "written_at") }} as month,
    count(*) as reviews,
    avg(case when label = 'pos' then 1.0 else 0.0 end) as share_pos,
    avg(score) as mean_score
from {{ ref("labelled_reviews") }}
group by 1
