EXECUTE "P" (1, -2.5, 'x'::text, NULL, $1)
