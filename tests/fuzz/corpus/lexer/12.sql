E'a'
'b\'c' B'01'
'10' X'1F' x'ab'
 'cd' b''