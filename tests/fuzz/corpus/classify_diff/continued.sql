SELECT 'a'
 'b', E'c\'d'
'e', $$f$$