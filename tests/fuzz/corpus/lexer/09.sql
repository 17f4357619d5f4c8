-- ab -- c
 d