// The program that holds a pod's sandbox open, and the only file of the image that test pods use.
module poolbudget.io/tests/pause

go 1.24
