a/*c*/b a+/*c*/b a+--c
b a*/**/b a<--c
 b