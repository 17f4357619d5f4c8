/* a /* nested */ */ SELECT 1 -- to the end
, 2 /**/