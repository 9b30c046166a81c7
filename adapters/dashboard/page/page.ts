document.title = "evenkeel";
