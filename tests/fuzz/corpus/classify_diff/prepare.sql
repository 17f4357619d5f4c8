PREPARE p (int, text) AS SELECT a FROM t WHERE b = $1 AND c IN ('x', 'y') AND d = -5;
